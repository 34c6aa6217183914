"""What every part may use and what knows no part: errors, storage, images, chance, commands."""
