"""What BRIDGE is compared with: DELG-global, DOLG, Token (Sec. 5), and what is not trained."""
