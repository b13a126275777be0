"""Images and videos: how they are cut into tiles, which frames are taken, and their uint8 pixels."""
