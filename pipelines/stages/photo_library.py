"""A folder of photos that is kept imported and indexed: `serve.py --photos`, `search.py --photos`.

<library>/library.json            whose photos they are, and which set counts
<library>/<set>/photos-00000      a DATASET: the photos of the first time
<library>/<set>/photos-00001      those that were added later, and so on
<library>/<set>/index-<model>     the INDEX of all of them

Photos that were added are imported and embedded, and nothing else is. Where some are gone or have
changed, a new set is made of all of them, and the old one removed.
"""

from __future__ import annotations

import io
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.private_folder import private_folder
from bridge.common.reading import reading
from bridge.common.record import WholeNumber, read_record
from bridge.dataset.manifest import MANIFEST, load_manifest, open_manifest
from bridge.dataset.photo_listing import LISTING, Listing, list_photos, without_duplicates
from bridge.index.folder import load_index_manifest
from bridge.model.folder import model_sha256
from pipelines.stages.claim import claimed
from pipelines.stages.photo_inputs import LISTING_FILE, catalogue_hash, notes
from pipelines.stages.photo_options import ImportPhotosConfig

RECORD = "library.json"


@dataclass(frozen=True)
class _Record:
    photos: str
    set: WholeNumber = 0


def require_model(model: str | None) -> tuple[str, str]:
    """The model to embed photos with and its hash; InputError where there is none."""
    if model is None:
        raise InputError("`photos` needs `model`: a model to embed the photos with.")
    path = storage.absolute(model)
    return path, model_sha256(path)


def default_folder(photos: str) -> str:
    """Where the library of a folder of photos is kept: in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parent = private_folder(cache / "bridge-retrieval", "Name another folder with `library`.")
    root = storage.absolute(photos)
    return str(parent / f"{Path(root).name}-{storage.sha256(root.encode())[:8]}")


def up_to_date(
    photos: str, model: str | None, folder: str | None = None, num_cpus: int | None = None
) -> str:
    """Import and index what a folder of photos has that its library has not; path of the index.

    Args:
        photos: the folder.
        model: to embed with.
        folder: of the library; None: `default_folder`.
        num_cpus: of a local cluster, where one must be started for it.

    Raises:
        InputError: there is no model, no photo, or the folder holds another library.
    """
    network, model_hash = require_model(model)
    root = storage.absolute(photos)
    listing = list_photos(root, "flat")
    with claimed(folder or default_folder(root)) as library:
        datasets = _import(library, root, listing, num_cpus)
        index = storage.join(datasets[0].rpartition("/")[0], f"index-{model_hash[:8]}")
        if not _is_current(index, datasets, model_hash):
            _build(index, network, datasets, num_cpus)
        _remove_other_sets(library, datasets[0])
    return index


def _import(library: str, root: str, listing: Listing, num_cpus: int | None) -> list[str]:
    """The datasets of a library, with all photos of the listing."""
    record = _opened(library, root)
    datasets = _datasets(library, record)
    for dataset in datasets:
        if not load_manifest(dataset).complete:
            known = _read_listing(dataset)
            later = dataset != datasets[0]
            _make(dataset, root, Listing(known, "flat"), num_cpus, may_be_empty=later)
    tables = [LISTING.empty_table(), *map(_read_listing, datasets)]
    known = pa.concat_tables(tables)
    here, there = _identities(listing.table), _identities(known)
    lost = len(known) - pc.sum(pc.is_in(there, here)).as_py() if len(known) else 0
    if lost:
        print(f"photos: {lost:,} are gone or have changed, so all are imported anew", flush=True)
        record = _Record(root, record.set + 1)
        storage.write_json(storage.join(library, RECORD), asdict(record))
        datasets, known = [], LISTING.empty_table()
        there = _identities(known)
    fresh = listing.table.filter(pc.invert(pc.is_in(here, there)))
    added = Listing(fresh, listing.layout, (), listing.passed_over)
    added = without_duplicates(root, added, known)
    if len(added):
        where = storage.join(library, str(record.set), f"photos-{len(datasets):05d}")
        print(f"photos: {len(added):,} new ones in {shown(root)}", flush=True)
        _make(where, root, added, num_cpus, may_be_empty=bool(datasets))
        datasets.append(where)
    return datasets


def _opened(library: str, root: str) -> _Record:
    path = storage.join(library, RECORD)
    if not storage.exists(path):
        record = _Record(root)
        storage.write_json(path, asdict(record))
        return record
    record = read_record(_Record, path)
    if record.photos != root:
        raise InputError(f"{library} is the library of {record.photos}: choose another `library`.")
    return record


def _datasets(library: str, record: _Record) -> list[str]:
    """Those that were begun, in their order."""
    folders = storage.list_folders(storage.join(library, str(record.set)))
    found = [path for path in folders if path.rpartition("/")[2].startswith("photos-")]
    return [path for path in found if storage.exists(storage.join(path, MANIFEST))]


def _read_listing(dataset: str) -> pa.Table:
    path = storage.join(dataset, LISTING_FILE)
    with reading(path, "remove the library"):
        return pq.read_table(io.BytesIO(storage.read_bytes(path))).cast(LISTING)


def _identities(table: pa.Table) -> pa.Array:
    """Path, size and time of each photo in one text: what is equal has not changed."""
    names = ("path", "size", "modified_ns")
    columns = (table[name].combine_chunks().cast(pa.string()) for name in names)
    return pc.binary_join_element_wise(*columns, "\n")


def _make(
    dataset: str, root: str, listing: Listing, num_cpus: int | None, *, may_be_empty: bool
) -> None:
    from pipelines.stages.photos import make_dataset

    config = ImportPhotosConfig(
        photos=root, out=dataset, layout="flat", max_rejected=1.0, num_cpus=num_cpus
    )
    found = storage.exists(storage.join(dataset, MANIFEST))
    for note in () if found else notes(config, listing, []):
        print(f"note: {shown(note)}")
    manifest = make_dataset(
        config,
        load_manifest(dataset) if found else None,
        listing,
        catalogue_hash(listing),
        may_be_empty=may_be_empty,
    )
    rejected = manifest.to_json()["rejected"]
    if rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items())
        print(f"photos: left out: {reasons} (named in {dataset}/{MANIFEST})", flush=True)


def _is_current(index: str, datasets: list[str], model_hash: str) -> bool:
    """Whether an index is finished and has all photos."""
    if not storage.exists(storage.join(index, MANIFEST)):
        return False
    manifest = load_index_manifest(index)
    hashes = {open_manifest(dataset).content_hash for dataset in datasets}
    known = set(manifest.datasets.values())
    return manifest.complete and manifest.model_hash == model_hash and hashes == known


def _build(index: str, model: str, datasets: list[str], num_cpus: int | None) -> None:
    from pipelines import build_index
    from pipelines.stages.index_options import BuildIndexConfig

    first, *later = datasets
    config = BuildIndexConfig(
        model=model, data=first, out=index, max_rejected=1.0, num_cpus=num_cpus
    )
    build_index.run(config)
    if later:
        build_index.run(replace(config, add=tuple(later)))


def _remove_other_sets(library: str, dataset: str) -> None:
    """What photos that are gone had been copied to."""
    kept = dataset.split("/")[-2]
    for path in storage.list_folders(library):
        name = path.rpartition("/")[2]
        if name.isdecimal() and name != kept:
            storage.delete_folder(path)
