"""Painted portraits of the Rijksmuseum, harvested over its open API (Linked Art): politely, resumably, with their rights.

Search gives pages of objects; an object shows a VisualItem, which is shown by a DigitalObject, whose access point is an IIIF
image. Documentation: https://data.rijksmuseum.nl/docs/search. What the museum answers may change from one day to the next, so
a harvest is pinned by DVC, as it was, and not by a SHA-256 in the code.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from regen import paths
from regen.data import folders
from regen.data.images.polite import Client, RefusedError, UnansweredError
from regen.errors import UserError

SEARCH = "https://data.rijksmuseum.nl/search/collection?type=painting&imageAvailable=true&title=portret"
LINKED_ART = "application/ld+json"
AGENT = "regen (a data pipeline for generative models; one request at a time)"
MOST = 5000  # objects; the search finds fewer
PAUSE = 0.25  # seconds between two requests
LARGEST_RECORD, LARGEST_IMAGE = 8 << 20, 32 << 20  # bytes
FAILURES = 5  # objects one after the other without an answer, before it stops
ENGLISH = "http://vocab.getty.edu/aat/300388277"
ATTRIBUTION = "http://vocab.getty.edu/aat/300435416"
ACCESSION = "http://vocab.getty.edu/aat/300312355"
COLUMNS = ("name", "number", "title", "artist", "rights", "object")


def harvest(folder: Path, *, limit: int = MOST, width: int = 400, search: str = SEARCH, work: Path | None = None,
            pause: float = PAUSE, hours: float = 12.0) -> dict[str, Any]:  # fmt: skip
    """Write `images/*.jpg` and `manifest.csv` (name, object number, title, artist, rights, object) into a folder.

    Killed, it goes on where it was when it is run again: what it has of each object lies in `work` until all is there.

    Args:
        folder: gets the images, in names made here of the object numbers.
        limit: how many objects of the search are asked for, in the museum's order.
        width: pixels of the images that the museum is asked for.
        search: address of the first page.
        work: folder of what is not yet complete; by default one in `.work`, by the search.
        pause: seconds between two requests.
        hours: after which it stops, to go on another time.

    Returns its provenance: the search, and how many objects there were, gave an image, or were skipped, and why.

    Raises:
        UserError: the museum cannot be reached or stops answering, the time is up, or nothing was found.
    """
    work = work or paths.WORK / "harvest" / _digest(f"{search} {width} {limit}")
    with folders.held(work, "harvest of the museum"):
        return _harvested(folder, work, search, Client(search, pause, AGENT), limit, width, hours)


def _harvested(folder: Path, work: Path, search: str, client: Client, limit: int, width: int, hours: float) -> dict[str, Any]:
    """Ask for what is missing in `work`, then write all."""
    end = time.monotonic() + 3600 * hours
    try:
        objects = list(_listed(client, search, limit))
    except (RefusedError, UnansweredError) as reason:
        raise UserError(f"rijksmuseum: the search gives nothing: {reason}; run again later, or choose another source "
                        "(wesnoth needs no museum)") from None  # fmt: skip
    missed = 0
    for number, address in enumerate(tqdm(objects, desc="rijksmuseum", unit="object", disable=None)):
        if (work / f"{_digest(address)}.json").exists():
            continue
        if time.monotonic() > end:
            raise UserError(f"rijksmuseum: stopped after {hours:g} hours with {number:,} of {len(objects):,} objects; "
                            "run again, it goes on there")  # fmt: skip
        try:
            _keep(work, address, *_fetched(client, address, width))
            missed = 0
        except RefusedError as reason:
            _keep(work, address, {"skipped": str(reason)}, b"")
            missed = 0
        except UnansweredError as reason:  # not kept: asked for again by the next run
            missed += 1
            if missed == FAILURES:
                raise UserError(f"rijksmuseum: {FAILURES} objects in a row gave no answer ({reason}), "
                                f"after {number + 1 - FAILURES:,} of {len(objects):,}; run again later, it goes on there"
                                ) from None  # fmt: skip
    return _written(work, folder, objects, search)


def count(search: str = SEARCH) -> int:
    """Return how many objects the search finds, asked once.

    Raises:
        UserError: the museum cannot be reached, or finds nothing.
    """
    try:
        page = _record(Client(search, 0.0, AGENT, attempts=1), search)
    except (RefusedError, UnansweredError) as reason:
        raise UserError(f"rijksmuseum: cannot be asked: {reason}; run again later, or choose another source "
                        "(wesnoth needs no museum)") from None  # fmt: skip
    whole = _blocks(page.get("partOf"))
    total = whole[0].get("totalItems") if whole else None
    found = total if isinstance(total, int) else len(_list(page.get("orderedItems")))
    if found < 1:
        raise UserError(f"rijksmuseum: the search finds nothing: {search}")
    return found


def _listed(client: Client, page: str, limit: int) -> Iterator[str]:
    """Yield the addresses of the first `limit` objects, each once, page by page."""
    seen: set[str] = set()
    pages: set[str] = set()
    while page and page not in pages:
        pages.add(page)
        record = _record(client, page)
        for item in _list(record.get("orderedItems")):
            address = _id(item)
            if address and address not in seen:
                if len(seen) == limit:
                    return
                seen.add(address)
                yield address
        page = _id(record.get("next"))


def _fetched(client: Client, address: str, width: int) -> tuple[dict[str, str], bytes]:
    """Return what the manifest says of one object, and its image.

    Raises:
        RefusedError: the object has no image, or one that cannot be had.
        UnansweredError: the museum does not answer.
    """
    thing = _record(client, address)
    shown = _first_id(thing, "shows") or _first_id(thing, "representation")
    visual = _record(client, shown or _missing("VisualItem"))
    digital = _record(client, _first_id(visual, "digitally_shown_by") or _missing("DigitalObject"))
    place = _first_id(digital, "access_point") or _missing("access point")
    small = re.sub(r"/full/(max|full)/", f"/full/{width},/", place, count=1)
    try:
        image = client.get(small, "image/jpeg", LARGEST_IMAGE)
    except RefusedError:
        if small == place:
            raise
        image = client.get(place, "image/jpeg", LARGEST_IMAGE)  # narrower than asked for: servers do not enlarge
    try:
        with Image.open(io.BytesIO(image), formats=("JPEG",)) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise RefusedError("no JPEG image") from None
    said = {"number": _number(thing), "title": _title(thing), "artist": _artist(thing), "rights": _rights(visual, thing)}
    return {name: " ".join(value.split()).encode(errors="replace").decode() for name, value in said.items()}, image


def _missing(what: str) -> str:
    raise RefusedError(f"no {what}")


def _keep(work: Path, address: str, said: dict[str, str], image: bytes) -> None:
    """Write what is known of one object: the image first, then the record that says it is complete."""
    for suffix, content in ((".jpg", image), (".json", json.dumps({"object": address, **said}).encode())):
        if content:
            folders.write(work / f"{_digest(address)}{suffix}", content)


def _written(work: Path, folder: Path, objects: list[str], search: str) -> dict[str, Any]:
    """Write the images and the manifest, sorted by object number; of the same image twice only the first."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    skipped: Counter[str] = Counter()
    rows: dict[str, dict[str, str]] = {}
    images: set[bytes] = set()
    kept = [(json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".jpg"))
            for path in (work / f"{_digest(address)}.json" for address in objects) if path.exists()]  # fmt: skip
    skipped["no answer"] = len(objects) - len(kept)
    for said, image in sorted(kept, key=lambda pair: (pair[0].get("number", ""), pair[0]["object"])):
        if "skipped" in said:
            skipped[said["skipped"]] += 1
            continue
        content = image.read_bytes()
        if (digest := hashlib.sha256(content).digest()) in images:
            skipped["the same image again"] += 1
            continue
        images.add(digest)
        name = _name(said, rows)
        (folder / "images" / name).write_bytes(content)
        rows[name] = {**said, "name": name}
    if not rows:
        raise UserError(f"rijksmuseum: none of {len(objects):,} objects gave an image ({dict(skipped)}); run again later")
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows[name] for name in sorted(rows))
    return {"search": search, "objects": len(objects), "images": len(rows), "skipped": dict(sorted((+skipped).items()))}


def _name(said: Mapping[str, str], taken: Mapping[str, Any]) -> str:
    stem = re.sub("[^a-z0-9]+", "-", said["number"].lower())[:64].strip("-") or "object"
    name, number = f"{stem}.jpg", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.jpg"
    return name


# What stands where in Linked Art. A value may be one thing or a list of them, a block or an address.


def _record(client: Client, address: str) -> dict[str, Any]:
    try:
        record = json.loads(client.get(address, LINKED_ART, LARGEST_RECORD))
    except (ValueError, RecursionError):
        raise RefusedError("no JSON") from None
    if not isinstance(record, dict):
        raise RefusedError("no record")
    return record


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _blocks(value: object) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _id(value: object) -> str:
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _first_id(record: Mapping[str, Any], name: str) -> str:
    return next((found for found in map(_id, _list(record.get(name))) if found), "")


def _is(block: Mapping[str, Any], name: str, value: str) -> bool:
    return value in map(_id, _list(block.get(name)))


def _content(blocks: list[dict[str, Any]]) -> str:
    """Return the English text, or else the first."""
    texts = [block for block in blocks if isinstance(block.get("content"), str)]
    ordered = sorted(texts, key=lambda block: not _is(block, "language", ENGLISH))
    return ordered[0]["content"] if ordered else ""


def _number(thing: Mapping[str, Any]) -> str:
    numbers = [block for block in _blocks(thing.get("identified_by")) if block.get("type") == "Identifier"]
    return _content(sorted(numbers, key=lambda block: not _is(block, "classified_as", ACCESSION)))


def _title(thing: Mapping[str, Any]) -> str:
    names = [block for block in _blocks(thing.get("identified_by")) if block.get("type") == "Name"]
    return _content([*names, *(part for name in names for part in _blocks(name.get("part")))])


def _artist(thing: Mapping[str, Any]) -> str:
    """Return the museum's attribution, with its `workshop of` and the like, or else the painters' names."""
    productions = _blocks(thing.get("produced_by"))
    productions += [part for production in productions for part in _blocks(production.get("part"))]
    statements = [said for production in productions for said in _blocks(production.get("referred_to_by"))]
    if attributed := _content([said for said in statements if _is(said, "classified_as", ATTRIBUTION)]):
        return attributed
    people = [person for production in productions for person in _blocks(production.get("carried_out_by"))]
    return "; ".join(dict.fromkeys(name for name in map(_person, people) if name))


def _person(person: Mapping[str, Any]) -> str:
    notations = sorted(_blocks(person.get("notation")), key=lambda block: block.get("@language") != "en")
    label = notations[0].get("@value") if notations else person.get("_label")
    return label if isinstance(label, str) else _content(_blocks(person.get("identified_by")))


def _rights(visual: Mapping[str, Any], thing: Mapping[str, Any]) -> str:
    for right in [*_blocks(visual.get("subject_to")), *_blocks(thing.get("subject_to"))]:
        if stated := _first_id(right, "classified_as") or _content(_blocks(right.get("identified_by"))):
            return stated
    return "not stated"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
