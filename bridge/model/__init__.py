"""The MODEL: network, backbones, weights in and out, and embedding (Sec. 3.1)."""
