"""Anyone's images: where they lie (`sources`), what they are (`index`), pixels of one shape (`decoding`), and splits of them.

`wesnoth` and `rijksmuseum` are collections that are fetched: each writes `images/` and a `manifest.csv` with the rights.
"""
