"""Running text of the user's: what is read of it, what is drawn, and what is refused."""

from __future__ import annotations

import json
import random
import re
import sys
from types import SimpleNamespace

import pytest

from head_atlas.errors import CorpusError, PromptError
from head_atlas.prompts import running_text
from head_atlas.prompts.running_text import RunningText, build_running_text, draw_pieces


def sentence(i):
    return f"Number {i}: the cat sat on the mat, and the dog sat near the door."


def written(path, paragraphs):
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return RunningText(str(path))


def pieces(policy, corpus, n=5, length=40, seed=0, **options):
    return draw_pieces(policy, corpus, random.Random(seed), n_pieces=n, length=length, **options)


def documents(corpus):
    return list(corpus.documents(random.Random(0)))


def test_every_piece_starts_with_bos_once_and_is_text_of_one_document(byte_level, tmp_path):
    texts = [f"{sentence(i)} " * 20 for i in range(9)]
    found, note = pieces(byte_level, written(tmp_path / "a.txt", texts), n=30)
    assert note == ""
    for ids in found:
        assert ids[: len(byte_level.prefix)] == byte_level.prefix
        assert 32 <= len(ids) <= 40
        assert byte_level.bos_id not in ids[1:]
        text = byte_level.tokenizer.decode(ids[1:], clean_up_tokenization_spaces=False)
        assert sum(text in whole for whole in texts) >= 1
    assert len(set(found)) > 20


def test_nothing_but_a_short_rest_of_a_document_is_lost(byte_level, tmp_path):
    text = f"{sentence(3)} " * 40
    found, note = pieces(byte_level, written(tmp_path / "a.txt", [text]), n=1000)
    ids = byte_level.pieces_of(text.strip())
    parts = [ids[start : start + 39] for start in range(0, len(ids), 39)]
    assert sorted(piece[1:] for piece in found) == sorted(part for part in parts if len(part) >= 31)
    assert note.startswith(f"{len(found)} of 1000 prompts: the corpus has 1 documents")


def test_a_limit_per_document_takes_its_start(byte_level, tmp_path):
    texts = [f"{sentence(i)} " * 20 for i in range(4)]
    found, _ = pieces(byte_level, written(tmp_path / "a.txt", texts), n=9, per_document=1)
    assert sorted(piece[1:] for piece in found) == sorted(byte_level.pieces_of(text.strip())[:39] for text in texts)


def test_documents_are_mixed_only_if_said(byte_level, tmp_path):
    corpus = written(tmp_path / "a.txt", [sentence(i) for i in range(20)])
    with pytest.raises(PromptError, match="0 of 5 prompts: the corpus has 20 documents, and at least 32 tokens"):
        pieces(byte_level, corpus)
    found, _ = pieces(byte_level, RunningText(corpus.source, mixed=True), n=100)
    whole = byte_level.pieces_of(sentence(0))
    for i in range(1, 20):
        if len(whole) % 39:  # no prompt starts with the empty line
            whole += byte_level.pieces_of("\n\n")
        whole += byte_level.pieces_of(sentence(i))
    parts = [whole[start : start + 39] for start in range(0, len(whole), 39)]
    assert sorted(piece[1:] for piece in found) == sorted(part for part in parts if len(part) >= 31)


def test_the_seed_decides_and_a_large_source_is_not_read_to_its_end(byte_level, tmp_path, monkeypatch):
    corpus = written(tmp_path / "a.txt", [f"{sentence(i)} " * 3 for i in range(400)])
    assert pieces(byte_level, corpus) == pieces(byte_level, corpus)
    assert pieces(byte_level, corpus) != pieces(byte_level, corpus, seed=1)
    read = []
    paragraphs = running_text._paragraphs
    monkeypatch.setattr(
        running_text, "_paragraphs", lambda path: (read.append(text) or text for text in paragraphs(path))
    )
    found, _ = pieces(byte_level, corpus, n=5, per_document=1)
    assert len(found) == 5
    assert len(read) <= running_text.POOL * 5 + 1


def test_draws_are_even_over_the_pool(byte_level, tmp_path):
    corpus = written(tmp_path / "a.txt", [f"{sentence(i)} " * 3 for i in range(10)])
    counts = dict.fromkeys(range(10), 0)
    for seed in range(200):
        for ids in pieces(byte_level, corpus, n=2, seed=seed, per_document=1)[0]:
            counts[int(re.search(r"Number (\d+)", byte_level.tokenizer.decode(ids)).group(1))] += 1
    assert sum(counts.values()) == 400
    assert all(20 <= count <= 65 for count in counts.values())  # 40 expected, 6 its standard deviation


def test_json_lines_folders_and_byte_order_marks(tmp_path):
    rows = [{"text": "one\n\nstill one", "other": 1}, {"text": "two"}]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert documents(RunningText(str(tmp_path / "b.jsonl"))) == ["one\n\nstill one", "two"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_bytes("\ufeffthree\r\nmore\r\n \r\n\r\nfour".encode())
    (tmp_path / "ignored.csv").write_text("five")
    assert sorted(documents(RunningText(str(tmp_path)))) == ["four", "one\n\nstill one", "three\nmore", "two"]
    (tmp_path / "c.jsonl").write_text('{"content": "six", "text": 7}')
    (tmp_path / "d.jsonl").write_text('{"text": "half a pair: \\ud800"}')
    assert documents(RunningText(str(tmp_path / "c.jsonl"), field="content")) == ["six"]
    assert documents(RunningText(str(tmp_path / "d.jsonl"))) == ["half a pair: ?"]


def test_a_paragraph_without_end_is_cut_and_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(running_text, "LONGEST_DOCUMENT", 10)
    (tmp_path / "a.txt").write_text("abcdefghijklmnopqrstuvwxyz")
    assert documents(RunningText(str(tmp_path / "a.txt"))) == ["abcdefghij", "klmnopqrst", "uvwxyz"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9", r"a\.txt: expected UTF-8 text, found the byte 0xe9"),
        ("a.jsonl", b'{"text": "\xff"}', r"a\.jsonl: expected UTF-8 text, found the byte 0xff"),
        ("a.jsonl", b'{"text": "one"}\nnot json', r"a\.jsonl, line 2: expected a JSON object, found 'not json'"),
        ("a.jsonl", b"[1]", r"a\.jsonl, line 1: expected a JSON object, found list"),
        ("a.jsonl", b'{"body": "one", "id": 3}', r"line 1: no field 'text'; the fields are 'body', 'id'"),
        ("a.jsonl", b'{"text": null}', r"line 1: expected text in the field 'text', found NoneType"),
        ("a.jsonl", b"[" * 100_000, r"line 1: expected a JSON object, found '\[\["),
        ("a.json", b"{}", r"a\.json: expected text, or JSON lines in a \.jsonl file"),
    ],
)
def test_what_cannot_be_read_is_refused_by_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        documents(RunningText(str(tmp_path / name)))


def test_missing_and_empty_sources(byte_level, tmp_path):
    for source in ("no-such-file.txt", "no/such/folder/at all", str(tmp_path / "gone.jsonl"), ""):
        if source:
            with pytest.raises(CorpusError, match="no such file or folder"):
                documents(RunningText(source))
    with pytest.raises(CorpusError, match=r"the folder has no \.txt or \.jsonl file"):
        documents(RunningText(str(tmp_path)))
    (tmp_path / "a.txt").write_text(" \n\n\n ")
    with pytest.raises(PromptError, match=r"a\.txt: there is no text in it"):
        pieces(byte_level, RunningText(str(tmp_path / "a.txt")))
    with pytest.raises(PromptError, match="at least 3 tokens, found 2"):
        pieces(byte_level, RunningText(str(tmp_path / "a.txt")), length=2)


def test_a_data_set_without_its_library_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"no file or folder 'owner/name'.*pip install 'datasets>=4'"):
        documents(RunningText("owner/name"))


def test_a_data_set_is_streamed_by_its_library(monkeypatch):
    asked = []

    def load_dataset(*args, **options):
        asked.append((args, options))
        return ({"body": f"row {i}"} for i in range(3))

    library = SimpleNamespace(__version__="4.1.0", load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert documents(RunningText("owner/name:part", field="body", split="test")) == ["row 0", "row 1", "row 2"]
    assert asked == [(("owner/name", "part"), {"split": "test", "streaming": True})]
    with pytest.raises(CorpusError, match=r"owner/name, row 0: no field 'text'; the fields are 'body'"):
        documents(RunningText("owner/name"))
    library.load_dataset = lambda *_, **__: iter([1 / 0])
    with pytest.raises(CorpusError, match="the data set 'owner/name' cannot be read: division by zero"):
        documents(RunningText("owner/name"))
    library.__version__ = "3.6.0"  # would run a script
    with pytest.raises(CorpusError, match=r"expected datasets 4 or newer, found 3\.6\.0"):
        documents(RunningText("owner/name"))


def test_hostile_text_stays_text(byte_level, tmp_path):
    text = "<|bos|><|bos|> <script>alert(1)</script> \x00 \u202e [[ {{ 7*7 }} ]] \u200d caf\u00e9 \U0001f600 = 1+1 " * 3
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}))
    prompts, _ = build_running_text(byte_level, RunningText(str(tmp_path / "a.jsonl")), n_prompts=50)
    assert all(p.tokens[0] == byte_level.bos_id and byte_level.bos_id not in p.tokens[1:] for p in prompts)
    assert sum(len(p) - 1 for p in prompts) > len(byte_level.pieces_of(text)) - 32
    first = next(p for p in prompts if p.text.startswith("<|bos|>"))
    assert text.startswith(first.text[:40])


def test_prompts_ask_for_every_next_token(byte_level, tmp_path):
    corpus = written(tmp_path / "a.txt", [f"{sentence(i)} " * 20 for i in range(9)])
    prompts, note = build_running_text(byte_level, corpus, n_prompts=6, length=48)
    assert (len(prompts), note) == (6, "")
    for prompt in prompts:
        assert prompt.family == "running_text"
        assert prompt.positions == tuple(range(1, len(prompt) - 1))
        assert prompt.targets == prompt.tokens[2:]
        assert sorted(prompt.corrupted) == sorted(prompt.tokens)
    assert build_running_text(byte_level, corpus, n_prompts=6, length=48)[0] == prompts
