"""Tiny collections in the format of Sweet Home 3D: catalogues, their escapes, and damage."""

import hashlib
import zipfile

import pytest
from made_up import entry

from wavelab.data import furniture
from wavelab.errors import DataCorrupt, UnknownName

CATALOGUE = (
    r"""# a catalogue
! of two models
id=Tiny#Models
license=Public  domain
id#1=Tiny#chair
name#1=Ch\u00e4ir \
       10\u20ac
category#1 : Living room
creator#1=Tiny \= Co
icon#1=/tiny/chair.png
model#1=/tiny/chair/chair.obj
width#1=50
depth#1=60.5
height#1=90
id#2=Tiny#lamp
name#2=Desk lamp
category#2=Lights
creator#2=Someone Else, in J"""
    + "\xfcrgen's"
    + r""" workshop
model#2=/tiny/lamp/lamp.obj
width#2=1
depth#2=2
height#2=3
modelRotation#2=1 0 0 0 0 -1 0 1 0
"""
)
OBJ = b"mtllib chair.mtl\nv 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


@pytest.fixture
def collection(cache, use_registry):
    """Return a function that puts a collection with a catalogue and some models into the cache."""

    def put(catalogue=CATALOGUE, models=("tiny/chair/chair.obj", "tiny/lamp/lamp.obj")):
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / "Tiny.sh3f"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if catalogue is not None:
                archive.writestr("PluginFurnitureCatalog.properties", catalogue.encode("latin-1"))
            for name in models:
                archive.writestr(name, OBJ)
        _register(path, use_registry)
        return path

    return put


def _register(path, use_registry):
    content = path.read_bytes()
    text = entry("furniture-cc0", "Tiny.sh3f", content, more='archive = "debian"')
    assert hashlib.sha256(content).hexdigest() in text
    use_registry(text)


def _read():
    return furniture.catalogue(["furniture-cc0"])


def test_a_catalogue_is_read(collection):
    collection()
    chair, lamp = _read()
    assert chair == furniture.Model(
        id="Tiny#chair",
        name="Chäir 10€",
        category="Living room",
        creator="Tiny = Co",
        licence="Public domain",
        collection="furniture-cc0",
        member="tiny/chair/chair.obj",
        size=(50, 60.5, 90),
        rotation=None,
    )
    assert lamp.rotation == ((1, 0, 0), (0, 0, -1), (0, 1, 0)) and "Jürgen" in lamp.creator
    assert furniture.content(lamp) == OBJ


def test_the_course_knows_all_collections():
    from wavelab.data import registry

    assert set(furniture.COLLECTIONS) == {id for id in registry.datasets() if id.startswith("furniture")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", {"a": "b"}),
        ("  a  :  b c ", {"a": "b c "}),
        ("a b", {"a": "b"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        (r"a\=b\:c\ d = e=f", {"a=b:c d": "e=f"}),
        (r"a\\=b", {"a\\": "b"}),
        ("a=1\\\n   2\\\r\n 3\rb=4", {"a": "123", "b": "4"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("# x=1\\\n!y=2\n\n \na=1\n", {"a": "1"}),
        (r"a=\t\n\q\u20AC\ud83e\ude91", {"a": "\t\nq€🪑"}),
        (r"a=\ud83e", {"a": "�"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=1\\", {"a": "1"}),
    ],
)
def test_properties_of_java(text, found):
    assert furniture.properties(text) == found


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("Modern armchair", ["chair"]),
        ("Armchair ottoman", ["stool"]),
        ("Wheelchair", []),
        ("Desk lamp", ["lamp"]),
        ("Desk", ["table"]),
        ("Table fan", []),
        ("Tablet", []),
        ("Bedside table", ["table"]),
        ("Futon couch", ["sofa"]),
        ("Seat Leon", []),
        ("Chest freezer", []),
        ("Captain's bed", ["bed"]),
    ],
)
def test_names_tell_the_kind(name, kinds):
    assert furniture.kinds(name) == kinds


def test_models_of_a_kind(collection):
    collection()
    assert [m.id for m in furniture.of_kind("lamp", _read())] == ["Tiny#lamp"]
    with pytest.raises(UnknownName, match=r"no kind of furniture 'chairs'.*'chair'"):
        furniture.of_kind("chairs", [])
    with pytest.raises(UnknownName, match="no collection of furniture 'furniture-cc1'"):
        furniture.catalogue(["furniture-cc1"])


@pytest.mark.parametrize(
    ("old", "new"),
    [("height#2=3", ""), ("height#2=3", "height#2=tall"), ("1 0 0 0 0 -1 0 1 0", "1 0"), ("name#2=Desk lamp", "")],
)
def test_an_entry_that_cannot_be_used_is_named(collection, old, new):
    assert old in CATALOGUE
    collection(CATALOGUE.replace(old, new))
    with pytest.raises(DataCorrupt, match=r"catalogue of Tiny\.sh3f cannot be used: its entry 2"):
        _read()


def test_a_collection_without_catalogue_or_model(collection):
    collection(catalogue=None)
    with pytest.raises(DataCorrupt, match="no member 'PluginFurnitureCatalog"):
        _read()
    collection(models=())
    with pytest.raises(DataCorrupt, match=r"no member 'tiny/chair/chair\.obj'"):
        furniture.content(_read()[0])


def test_a_collection_that_is_damaged(collection, use_registry):
    path = collection()
    model = _read()[0]
    content = bytearray(path.read_bytes())
    place = content.index(b"tiny/chair/chair.obj") + 40
    content[place : place + 8] = bytes(8)
    path.write_bytes(bytes(content))
    with pytest.raises(DataCorrupt, match=r"Tiny\.sh3f is damaged"):
        furniture.content(model)
    path.write_bytes(b"no archive")
    _register(path, use_registry)
    with pytest.raises(DataCorrupt, match=r"Tiny\.sh3f is damaged"):
        _read()
