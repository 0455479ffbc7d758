"""The harvester of the Rijksmuseum's portraits, against a server on this machine that answers in its documented shapes."""

from __future__ import annotations

import csv
import http.server
import io
import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regen.data.images import polite, rijksmuseum
from regen.errors import UserError

ENGLISH, DUTCH = rijksmuseum.ENGLISH, "http://vocab.getty.edu/aat/300388256"
PUBLIC_DOMAIN = "https://creativecommons.org/publicdomain/mark/1.0/"


def jpeg(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 50), (shade, 90, 40)).save(out, "JPEG")
    return out.getvalue()


class Museum:
    """Objects as the search finds them, ten a page; `answers` replaces what a path gives, a call at a time."""

    def __init__(self, objects: int = 25) -> None:
        self.port = 0
        self.objects = [f"/{200000000 + n}" for n in range(objects)]
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, Any] = {}
        self.answers: dict[str, list[Callable[[Handler], None] | None]] = defaultdict(list)
        self.records: dict[str, Any] = {}
        self.released = threading.Event()

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def search(self) -> str:
        return self.at("/search/collection?title=portret&page=0")

    def page(self, number: int) -> dict[str, Any]:
        found = self.objects[10 * number : 10 * number + 10]
        more = {"next": {"id": self.at(f"/search/collection?title=portret&page={number + 1}"), "type": "OrderedCollectionPage"}}
        return {
            "type": "OrderedCollectionPage",
            "orderedItems": [{"id": self.at(path), "type": "HumanMadeObject"} for path in found],
            **(more if len(self.objects) > 10 * number + 10 else {}),
        }

    def record(self, path: str) -> Any:
        """An object 200..., its VisualItem 202... or its DigitalObject 500...; every second one in the other variant."""
        if path in self.records:
            return self.records[path]
        n = int(path[4:])
        lists = n % 2 == 0
        if path.startswith("/200"):
            visual = {"id": self.at(f"/202{n:06d}"), "type": "VisualItem"}
            return {
                "type": "HumanMadeObject",
                "identified_by": [
                    {"type": "Name", "content": f"Portret van heer {n}", "language": [{"id": DUTCH}]},
                    {"type": "Name", "content": f"Portrait of\n Mr {n}", "language": [{"id": ENGLISH}]},
                    {"type": "Identifier", "content": f"other-{n}"},
                    {"type": "Identifier", "content": f"SK-A-{n}", "classified_as": [{"id": rijksmuseum.ACCESSION}]},
                ],
                "produced_by": {
                    "referred_to_by": [
                        {"content": "toegeschreven aan Hals", "classified_as": [{"id": rijksmuseum.ATTRIBUTION}],
                         "language": [{"id": DUTCH}]},
                        {"content": "attributed to Hals", "classified_as": [{"id": rijksmuseum.ATTRIBUTION}],
                         "language": [{"id": ENGLISH}]},
                    ]
                } if lists else {"part": [{"carried_out_by": [
                    {"notation": [{"@language": "nl", "@value": "Anoniem"}, {"@language": "en", "@value": "Anonymous"}]}]}]},
                **({"shows": [visual]} if lists else {"representation": [visual]}),
            }  # fmt: skip
        if path.startswith("/202"):
            right = {"type": "Right", "classified_as": [{"id": PUBLIC_DOMAIN}]}
            english = {"content": "Public Domain", "language": [{"id": ENGLISH}]}
            named = {"type": "Right", "identified_by": [{"content": "Publieke domein"}, english]}
            return {"digitally_shown_by": [{"id": self.at(f"/500{n:06d}")}], "subject_to": [right] if lists else named}
        place = {"id": self.at(f"/iiif/{n}/full/max/0/default.jpg"), "type": "DigitalObject"}
        return {"access_point": [place] if lists else place}


class Handler(http.server.BaseHTTPRequestHandler):
    museum: Museum

    def do_GET(self) -> None:
        self.museum.asked[self.path] += 1
        self.museum.headers[self.path] = dict(self.headers)
        waiting = self.museum.answers[self.path]
        answer = waiting.pop(0) if waiting else None
        if answer:
            answer(self)
        elif self.path.startswith("/search"):
            self.json(self.museum.page(int(self.path.rsplit("=", 1)[1])))
        elif self.path.startswith("/iiif"):
            self.reply(jpeg(int(self.path.split("/")[2]) * 9 % 256), Content_Type="image/jpeg")
        else:
            self.json(self.museum.record(self.path))

    def json(self, content: Any) -> None:
        self.reply(json.dumps(content).encode(), Content_Type="application/ld+json")

    def reply(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.reply(b"", code, **headers)


def to(address: str, code: int = 302) -> Callable[[Handler], None]:
    return status(code, Location=address)


def body(content: bytes) -> Callable[[Handler], None]:
    return lambda handler: handler.reply(content)


def cut(handler: Handler) -> None:
    handler.reply(b'{"shows"', length=4000)


def silent(handler: Handler) -> None:
    handler.museum.released.wait(20)


def dripping(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    while not handler.museum.released.wait(0.05):
        handler.wfile.write(b" ")


@pytest.fixture
def museum(monkeypatch: pytest.MonkeyPatch) -> Iterator[Museum]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(polite, "BACK_OFF_SECONDS", 0.01)
    museum = Museum()
    handler = type("MuseumHandler", (Handler,), {"museum": museum})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        museum.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield museum
        museum.released.set()
        server.shutdown()


@pytest.fixture
def harvest(museum: Museum, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(name: str = "raw", **changes: Any) -> dict[str, Any]:
        settings = {"search": museum.search, "work": tmp_path / "work", "pause": 0.0, **changes}
        return rijksmuseum.harvest(tmp_path / name, **settings)

    return run


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_object_of_every_page_gives_its_image(harvest, museum, tmp_path):
    provenance = harvest()
    assert provenance == {"search": museum.search, "objects": 25, "images": 25, "skipped": {}}
    images = {path.name: path.read_bytes() for path in (tmp_path / "raw/images").iterdir()}
    assert images == {f"sk-a-{n}.jpg": jpeg(n * 9 % 256) for n in range(25)}
    assert len([path for path in museum.asked if path.startswith("/search")]) == 3
    assert not (tmp_path / "work").exists()


def test_the_manifest_tells_number_title_artist_and_rights_in_both_variants(harvest, museum, tmp_path):
    harvest()
    rows = {row["number"]: row for row in manifest(tmp_path / "raw")}
    assert [row["name"] for row in rows.values()] == sorted(path.name for path in (tmp_path / "raw/images").iterdir())
    assert rows["SK-A-2"] == {
        "name": "sk-a-2.jpg", "number": "SK-A-2", "title": "Portrait of Mr 2", "artist": "attributed to Hals",
        "rights": PUBLIC_DOMAIN, "object": museum.at("/200000002"),
    }  # fmt: skip
    assert (rows["SK-A-3"]["artist"], rows["SK-A-3"]["rights"]) == ("Anonymous", "Public Domain")


def test_a_small_size_and_linked_art_are_asked_for(harvest, museum):
    harvest(limit=1)
    assert [path for path in museum.asked if path.startswith("/iiif")] == ["/iiif/0/full/400,/0/default.jpg"]
    assert museum.headers["/200000000"]["Accept"] == "application/ld+json"
    assert museum.headers["/200000000"]["User-Agent"].startswith("regen")


def test_an_image_narrower_than_asked_for_comes_as_it_is(harvest, museum, tmp_path):
    museum.answers["/iiif/0/full/400,/0/default.jpg"] = [status(400)]
    assert harvest(limit=1)["images"] == 1
    assert list(museum.asked)[-1] == "/iiif/0/full/max/0/default.jpg"


def test_no_more_objects_are_asked_for_than_wanted(harvest, museum):
    assert harvest(limit=12)["objects"] == 12
    assert len([path for path in museum.asked if path.startswith("/200")]) == 12
    assert len([path for path in museum.asked if path.startswith("/search")]) == 2


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleeping moves, and what was slept."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setattr(polite.time, "monotonic", lambda: sum(naps))
    return naps


def test_requests_keep_their_distance(harvest, slept):
    harvest(limit=2, pause=0.25)
    assert [nap for nap in slept if nap] == [0.25] * 8  # between 9 requests: a page, and four for each object


def test_redirects_are_followed(harvest, museum):
    museum.answers["/200000000"] = [to(museum.at("/moved"), 303)]
    museum.records["/moved"] = museum.record("/200000000")
    museum.answers["/202000001"] = [to("/elsewhere", 301)]
    museum.records["/elsewhere"] = museum.record("/202000001")
    assert harvest(limit=2)["images"] == 2


def test_a_redirect_to_what_is_not_https_is_not_followed(harvest, museum):
    other = Museum()
    handler = type("Other", (Handler,), {"museum": other})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        other.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        museum.answers["/200000000"] = [to(other.at("/200000000"))]
        museum.answers["/200000001"] = [to("file:///etc/passwd")]
        museum.answers["/200000002"] = [to("https://[")]
        assert harvest(limit=4)["skipped"] == {"an address that is not https": 2, "no address": 1}
        server.shutdown()
    assert not other.asked


def test_a_ring_of_redirects_ends(harvest, museum):
    museum.answers["/200000000"] = [to("/200000000")] * 50
    assert harvest(limit=2)["skipped"] == {"more than 5 redirects": 1}
    assert museum.asked["/200000000"] == 6


def test_objects_without_an_image_are_skipped_and_counted(harvest, museum):
    museum.records |= {
        "/200000000": {"identified_by": []},
        "/202000001": {"digitally_shown_by": []},
        "/500000002": {"access_point": {}},
        "/200000003": [],
        "/202000004": {"digitally_shown_by": museum.at("/500000004")},  # an address alone: as good as a block
    }
    for size in ("400,", "max"):
        museum.answers[f"/iiif/5/full/{size}/0/default.jpg"] = [status(404)]
    museum.answers["/iiif/6/full/400,/0/default.jpg"] = [body(b"<html>no image</html>")]
    museum.answers["/200000007"] = [body(b"<html>no record</html>")]
    museum.answers["/202000008"] = [status(410)]
    provenance = harvest()
    assert provenance["images"] == 17
    assert provenance["skipped"] == {
        "HTTP 404": 1, "HTTP 410": 1, "no DigitalObject": 1, "no JPEG image": 1, "no JSON": 1, "no VisualItem": 1,
        "no access point": 1, "no record": 1,
    }  # fmt: skip


def test_an_answer_larger_than_its_limit_is_dropped(harvest, museum, monkeypatch):
    monkeypatch.setattr(rijksmuseum, "LARGEST_IMAGE", 5000)
    for size in ("400,", "max"):
        museum.answers[f"/iiif/0/full/{size}/0/default.jpg"] = [body(bytes(6000))]
    assert harvest(limit=2)["skipped"] == {"longer than 5,000 bytes": 1}


@pytest.mark.parametrize("failure", [status(500), status(503), status(429), status(429, Retry_After="nonsense"), cut])
def test_what_fails_now_and_then_is_asked_for_again(harvest, museum, failure):
    for path in (museum.search.removeprefix(museum.at("")), "/200000000", "/iiif/1/full/400,/0/default.jpg"):
        museum.answers[path] = [failure, failure]
    assert harvest(limit=3)["images"] == 3
    assert museum.asked["/200000000"] == 3


@pytest.mark.parametrize("asked", [lambda: "40", lambda: formatdate(time.time() + 41, usegmt=True)], ids=["seconds", "date"])
def test_the_wait_that_a_server_asks_for_is_kept(harvest, museum, slept, asked):
    museum.answers["/200000000"] = [lambda handler: handler.reply(b"", 429, Retry_After=asked())]
    assert harvest(limit=1)["images"] == 1
    assert [round(nap, -1) for nap in slept if nap > 1] == [40]


def test_a_wait_longer_than_two_minutes_is_for_another_run(harvest, museum):
    museum.answers[museum.search.removeprefix(museum.at(""))] = [status(429, Retry_After="3600")]
    with pytest.raises(UserError, match="asks to wait 3600 s; run again later"):
        harvest()


@pytest.mark.parametrize("failure", [silent, dripping])
def test_a_server_that_holds_the_line_is_given_up_and_asked_again(harvest, museum, monkeypatch, failure):
    monkeypatch.setattr(polite, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(polite, "BODY_SECONDS", 0.3)
    museum.answers["/200000000"] = [failure]
    assert harvest(limit=1)["images"] == 1
    assert museum.asked["/200000000"] == 2


def test_an_object_that_never_answers_is_left_out_and_told(harvest, museum):
    museum.answers["/200000003"] = [status(500)] * 50
    provenance = harvest()
    assert (provenance["images"], provenance["skipped"]) == (24, {"no answer": 1})
    assert museum.asked["/200000003"] == polite.ATTEMPTS


def test_the_same_object_twice_and_the_same_image_twice_count_once(harvest, museum):
    museum.objects += ["/200000003", "/200000004"]  # as pages move while one reads them
    museum.records["/500000007"] = museum.record("/500000006")
    assert harvest() == {"search": museum.search, "objects": 25, "images": 24, "skipped": {"the same image again": 1}}
    assert museum.asked["/200000003"] == 1


def test_two_objects_of_one_number_get_two_names(harvest, museum, tmp_path):
    museum.records["/200000001"] = museum.record("/200000000") | {"shows": [{"id": museum.at("/202000001")}]}
    harvest(limit=2)
    assert sorted(path.name for path in (tmp_path / "raw/images").iterdir()) == ["sk-a-0-2.jpg", "sk-a-0.jpg"]


def test_pages_in_a_ring_end(harvest, museum):
    first = museum.page(0)
    museum.answers["/search/collection?title=portret&page=1"] = [lambda handler: handler.json(first)]
    assert harvest()["objects"] == 10


def test_a_number_names_no_place_on_the_disk(harvest, museum, tmp_path):
    number = {"type": "Identifier", "content": "../../../\udc80\n" + "x" * 300}
    museum.records["/200000000"] = museum.record("/200000000") | {"identified_by": [number]}
    harvest(limit=1)
    (name,) = (path.name for path in (tmp_path / "raw/images").iterdir())
    assert name.startswith("xxx")
    assert len(name) < 80
    assert manifest(tmp_path / "raw")[0]["title"] == ""


def test_cut_in_the_middle_it_goes_on_to_the_same_bytes(harvest, museum, tmp_path):
    harvest("whole")
    assert museum.asked.total() == 3 + 4 * 25
    museum.asked.clear()
    broken = {f"/{200000000 + n}": [status(500)] * polite.ATTEMPTS for n in range(12, 17)}
    museum.answers.update(broken)
    with pytest.raises(UserError, match=r"5 objects in a row gave no answer \(HTTP 500\), after 12 of 25; run again later"):
        harvest()
    assert not (tmp_path / "raw").exists()
    before = set(museum.asked)
    museum.asked.clear()
    harvest()
    assert content(tmp_path / "raw") == content(tmp_path / "whole")
    again = {path for path in museum.asked if path in before and not path.startswith("/search")}
    assert again == set(broken)


def test_killed_between_an_image_and_its_record_it_fetches_that_object_anew(harvest, museum, tmp_path, monkeypatch):
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: 1 / 0 if str(b).endswith(".json") else replace(a, b))
    with pytest.raises(ZeroDivisionError):
        harvest(limit=3)
    monkeypatch.setattr(os, "replace", replace)
    assert harvest(limit=3)["images"] == 3
    assert museum.asked["/200000000"] == 2


def test_a_harvest_that_takes_too_long_stops_and_goes_on_later(harvest, museum):
    with pytest.raises(UserError, match=r"stopped after 0 hours with 0 of 25 objects; run again, it goes on there"):
        harvest(hours=0)
    assert harvest()["images"] == 25


def test_a_museum_that_cannot_be_reached_is_one_line(tmp_path, museum):
    search = museum.at("/").replace(str(museum.port), "9") + "search"
    with pytest.raises(UserError, match="the search gives nothing: no connection") as raised:
        rijksmuseum.harvest(tmp_path / "raw", search=search, work=tmp_path / "work", pause=0.0)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="rijksmuseum: cannot be asked: no connection"):
        rijksmuseum.count(search)


def test_how_many_there_are_is_asked_once(museum):
    assert rijksmuseum.count(museum.search) == 10  # of the first page, where it does not tell of the others
    museum.answers[museum.search.removeprefix(museum.at(""))] = [lambda handler: handler.json({"partOf": {"totalItems": 1234}})]
    assert rijksmuseum.count(museum.search) == 1234
    assert museum.asked.total() == 2
    museum.objects = []
    with pytest.raises(UserError, match="the search finds nothing"):
        rijksmuseum.count(museum.search)


def test_a_search_that_finds_nothing_is_one_line(harvest, museum):
    museum.objects = []
    with pytest.raises(UserError, match="none of 0 objects gave an image"):
        harvest()
