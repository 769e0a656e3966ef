"""``mmcoseg review``: a page in which a person judges masks, and mends them by hints."""
