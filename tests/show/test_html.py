import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from meshdisent.errors import UsageError
from meshdisent.show.html import Column, Report, Row, Table, Tile, embed, embed_gif

EVIL = "<script>alert('x')</script> & \"quotes\""


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 256, (30, 40, 3)).astype(np.uint8)


@pytest.fixture
def report(picture):
    report = Report(EVIL, summary=[EVIL], tiles=[Tile(EVIL, "1.0", "mm", EVIL)], reproduction={EVIL: EVIL, "Seed": 7})
    report.warning(EVIL)
    section = report.section(EVIL, f"{EVIL}\n\nSecond paragraph.")
    section.warning(EVIL)
    section.table(Table([Column(EVIL, EVIL)], [Row(EVIL, [1.0], "model"), Row("b", [0.5])], caption=EVIL, corner=EVIL))
    section.picture(picture, alt=EVIL, caption=EVIL)
    section.gif([picture, picture[::-1].copy()], alt="moving", caption="there and back")
    return report


class Outline(HTMLParser):
    """Tags with attributes, and whether every tag is closed."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page):
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser.tags


def test_text_from_files_is_escaped_everywhere(report):
    page = report.html()
    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;") >= 14
    assert not [tag for tag, _ in outline(page) if tag in ("script", "iframe", "object", "link")]
    assert not [name for _, attributes in outline(page) for name in attributes if name.startswith("on")]


def test_attributes_survive_quotes(report):
    assert [a["alt"] for tag, a in outline(report.html()) if tag == "img"] == [EVIL, "moving"]


def test_nothing_is_fetched(report):
    page = report.html()
    sources = [a[k] for _, a in outline(page) for k in ("src", "href", "srcset", "data", "action") if k in a]
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_links_lead_to_sections(picture):
    report = Report("A", reproduction={"Seed": 1})
    for name in ("one", "two", "three"):
        report.section(name)
    tags = outline(report.html())
    targets = {a["id"] for _, a in tags if "id" in a}
    links = [a["href"][1:] for tag, a in tags if tag == "a"]
    assert links == ["s1", "s2", "s3", "reproduce"]
    assert set(links) <= targets


def test_embedded_pictures_are_the_pictures(report, picture):
    images = [a for tag, a in outline(report.html()) if tag == "img"]
    data = [base64.b64decode(a["src"].split(",", 1)[1]) for a in images]
    assert (np.asarray(Image.open(io.BytesIO(data[0]))) == picture).all()
    assert Image.open(io.BytesIO(data[1])).n_frames == 2
    assert [(a["width"], a["height"]) for a in images] == [("40", "30")] * 2


def test_very_wide_pictures_are_shrunk():
    shown = embed(np.zeros((100, 4000, 3), np.uint8), "wide")
    assert (shown.width, shown.height) == (2000, 50)


def test_tables_show_numbers_units_and_marks(picture):
    report = Report("A")
    table = Table([Column("E_avd", "mm")], [Row("WSDF", [0.91], "model"), Row("PCA", [0.86])])
    report.section("Accuracy").table(table)
    page = report.html()
    assert re.search(r"E_avd<small>mm</small>", page)
    assert '<td class="number">0.910</td>' in page
    assert '<td class="number best beats">0.860</td>' in page
    assert 'PCA<span class="tag beats">beats the model</span>' in page
    assert 'WSDF<span class="tag">this model</span>' in page


def test_one_warning_is_a_paragraph_and_more_are_a_list():
    report = Report("A", warnings=["first"])
    assert "<li>" not in report.html()
    report.warning("second")
    assert report.html().count("<li>") == 2


def test_several_pictures_stand_side_by_side(picture):
    report = Report("A")
    report.section("B").pictures([embed(picture, "a"), embed_gif([picture], "b")])
    page = report.html()
    assert 'class="pair"' in page
    assert [a["src"][:15] for tag, a in outline(page) if tag == "img"] == ["data:image/png;", "data:image/gif;"]


def test_an_empty_report_is_a_page():
    tags = [tag for tag, _ in outline(Report("Nothing yet").html())]
    assert tags.count("h1") == 1
    assert "section" not in tags


def test_the_same_report_gives_the_same_bytes(report):
    assert report.html() == report.html()


def test_reports_are_written_whole_and_not_overwritten(tmp_path, report):
    path = tmp_path / "report.html"
    report.write(path)
    assert path.read_text(encoding="utf-8") == report.html()
    with pytest.raises(UsageError, match="exists already"):
        report.write(path)
    report.write(path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
