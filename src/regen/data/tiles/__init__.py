"""Tiles of sections: large images in HDF5 files, and where tiles of them are taken."""
