"""Token: an image as a few tokens, which learned queries gather from the map (a transformer)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import nn

from bridge.model.baselines.config import TokenConfig
from bridge.model.method import Description, RetrievalModel, build_classifier


class Token(RetrievalModel):
    """The network; its descriptors have length 1, which ArcFace gives them in any case.

    In training it needs two images or more, as descriptors are normalised over the batch.
    """

    config: TokenConfig

    def __init__(self, config: TokenConfig, weights: str = "none") -> None:
        """Build the network; `weights` of the encoder as in `build_backbone`.

        Raises:
            InputError: as `build_backbone` does.
        """
        super().__init__(config, weights)
        width, heads, dropout = config.width, config.attention_heads, config.dropout
        self.reduce = nn.Sequential(
            nn.Conv2d(self.backbone.num_features, width, 1), nn.BatchNorm2d(width)
        )
        self.encoder = nn.ModuleList(
            EncoderBlock(width, heads, dropout) for _ in range(config.encoder_blocks)
        )
        self.tokenise = (
            ConvTokeniser(width, config.tokens)
            if config.tokeniser == "conv"
            else QueryTokeniser(width, config.tokens, scaled=config.tokeniser == "scaled")
        )
        self.refine = nn.ModuleList(
            Refinement(width, heads, dropout) for _ in range(config.refinements)
        )
        self.fuse = nn.Sequential(
            nn.Linear(config.tokens * width, config.descriptor_dim),
            nn.BatchNorm1d(config.descriptor_dim),
        )
        self.classifier = build_classifier(config)

    def describe_features(self, features: torch.Tensor) -> Description:
        """Of a float32 map [B, C, h, w]."""
        places = self.places(features)
        tokens = self.tokenise(places)
        for block in self.refine:
            tokens = block(tokens, places)
        return Description(F.normalize(self.fuse(tokens.flatten(1))))

    def places(self, features: torch.Tensor) -> torch.Tensor:
        """What stands at the N places of a map: float32 [B, N, W]."""
        places = self.reduce(features).flatten(2).transpose(1, 2)
        for block in self.encoder:
            places = block(places)
        return places


class EncoderBlock(nn.Module):
    """Attention among the places of a map, and a linear layer, each added to what it reads."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, width)
        self.drop = DropBranch(dropout)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """float32 [B, N, W] to the same shape."""
        places = places + self.drop(self.attention(places, places))
        normed = self.norm(places.flatten(0, 1)).view_as(places)
        return places + self.drop(self.linear(normed))


class Tokeniser(nn.Module, ABC):
    """Shares each place out among the tokens, and transforms what they gather."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    @abstractmethod
    def shares(self, places: torch.Tensor) -> torch.Tensor:
        """Of the L tokens in places [B, N, W]: float32 [B, L, N], 1 in all at each place."""

    def gather(self, places: torch.Tensor) -> torch.Tensor:
        """Tokens [B, L, W] before they are transformed: sums over the places."""
        return self.shares(places) @ places

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """float32 [B, N, W] to tokens [B, L, W]."""
        return self.norm(self.linear(self.gather(places)))


class QueryTokeniser(Tokeniser):
    """Shares by products with learned queries; sums, which grow with the map."""

    def __init__(self, width: int, tokens: int, *, scaled: bool) -> None:
        super().__init__(width)
        self.queries = nn.Parameter(torch.randn(tokens, width))
        self.scale = 1 / math.sqrt(width) if scaled else 1.0

    def shares(self, places: torch.Tensor) -> torch.Tensor:
        """As `Tokeniser` says."""
        return (self.scale * (self.queries @ places.transpose(1, 2))).softmax(dim=1)


class ConvTokeniser(Tokeniser):
    """Shares by a convolution 1x1; means, weighted by the shares."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__(width)
        self.logits = nn.Linear(width, tokens)

    def shares(self, places: torch.Tensor) -> torch.Tensor:
        """As `Tokeniser` says."""
        return self.logits(places).softmax(dim=2).transpose(1, 2)

    def gather(self, places: torch.Tensor) -> torch.Tensor:
        """Tokens [B, L, W] before they are transformed."""
        weights = self.shares(places).sum(dim=2, keepdim=True).clamp(min=1e-12)
        return super().gather(places) / weights


class Refinement(nn.Module):
    """Tokens attend to the map, think, and attend to each other."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_map = nn.LayerNorm(width)
        self.attend_map = Attention(width, heads, dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
            nn.Dropout(dropout),
        )
        self.norm_tokens = nn.LayerNorm(width)
        self.attend_tokens = Attention(width, heads, dropout)
        self.drop = DropBranch(dropout)

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Tokens [B, L, W], of a map of places [B, N, W], to tokens."""
        tokens = tokens + self.drop(self.attend_map(self.norm_map(tokens), places))
        tokens = tokens + self.drop(self.mlp(tokens))
        normed = self.norm_tokens(tokens)
        return tokens + self.drop(self.attend_tokens(normed, normed))


class Attention(nn.Module):
    """Multi-head attention whose output begins as zeros."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.query, self.key, self.value):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, asking: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """What [B, Q, W] find in [B, K, W]: float32 [B, Q, W]."""
        query, key, value = (
            linear(rows).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear, rows in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        logits = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        found = self.dropout(logits.softmax(dim=-1)) @ value
        return self.dropout(self.out(found.transpose(1, 2).flatten(2)))


class DropBranch(nn.Module):
    """Leaves a branch out for some images of a batch in training (stochastic depth)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        """float32 [B, N, W] to the same shape."""
        kept = torch.ones_like(branch[:, :1, :1])
        return branch * F.dropout(kept, self.rate, self.training)
