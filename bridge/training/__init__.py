"""Training: BLISS, losses, recipes and the loop (Sec. 3.2-3.3); no Ray and no INDEX."""
