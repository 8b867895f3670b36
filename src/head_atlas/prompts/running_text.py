"""Running text that the user names, cut into prompts: a text file or a folder of them, JSON lines, or a data set.

In a text file a document is a paragraph (paragraphs are apart by an empty line), in JSON lines it is one field of a
line. Everything is streamed: no more of a source is read than the prompts need, and no more of it kept.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from head_atlas.errors import CorpusError, PromptError
from head_atlas.prompts.prompt import Prompt
from head_atlas.prompts.tokens import TokenPolicy

RUNNING_LENGTH = 64
SHORTEST = 32
"""Pieces with fewer tokens are passed over: they say little about distances and entropy."""
POOL = 20
"""Prompts are drawn evenly from the first POOL x n pieces of a source: a large one is never read to its end."""
LONGEST_DOCUMENT = 2**20
"""Characters. A longer document is taken as several, so that a file without line ends does not fill the memory."""
LONGEST_LINE = 2**26
"""Characters of a line of JSON; a longer one is an error."""
_OLDEST_DATASETS = 4
_DATASET = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?", re.ASCII)


@dataclass(frozen=True)
class RunningText:
    """Where running text comes from.

    Attributes:
        source: a text file, a folder of `.txt` and `.jsonl` files, a `.jsonl` file, or the id of a data set as
            `datasets` knows it ("owner/name" or "owner/name:configuration"); a path that exists comes first.
        field: of a JSON line or of a row of the data set.
        split: of the data set.
        mixed: whether one prompt may hold the end of a document and the start of the next, an empty line between.
    """

    source: str
    field: str = "text"
    split: str = "train"
    mixed: bool = False

    def documents(self, rng: random.Random) -> Iterator[str]:
        """Stream the documents; the files of a folder come in an order drawn by `rng`.

        Raises:
            CorpusError: the source is missing, cannot be read, is not UTF-8, or has not that field.
        """
        path = Path(self.source)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in (".txt", ".jsonl") and p.is_file())
            if not files:
                raise CorpusError(f"{path}: the folder has no .txt or .jsonl file")
            rng.shuffle(files)
            for file in files:
                yield from self._documents_of(file)
        elif path.exists():
            yield from self._documents_of(path)
        elif path.suffix.lower() not in (".txt", ".jsonl", ".json") and _DATASET.fullmatch(self.source):
            yield from self._rows()
        else:
            raise CorpusError(f"{self.source[:200]}: no such file or folder, and not the name of a data set")

    def _documents_of(self, path: Path) -> Iterator[str]:
        if path.suffix.lower() == ".json":
            raise CorpusError(f"{path}: expected text, or JSON lines in a .jsonl file, found a .json file")
        read = self._json_lines if path.suffix.lower() == ".jsonl" else _paragraphs
        try:
            yield from read(path)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise CorpusError(f"{path}: expected UTF-8 text, found the byte 0x{byte:02x}") from error
        except OSError as error:
            raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from error

    def _json_lines(self, path: Path) -> Iterator[str]:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), start=1):
                place = f"{path}, line {number}"
                if len(line) == LONGEST_LINE:
                    raise CorpusError(f"{place}: longer than {LONGEST_LINE} characters")
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise CorpusError(f"{place}: expected a JSON object, found {line.strip()[:40]!r}") from error
                yield self._text_of(row, place)

    def _rows(self) -> Iterator[str]:
        try:
            datasets: Any = import_module("datasets")
        except ImportError as error:
            raise CorpusError(
                f"no file or folder {self.source!r}; to read the data set of that name, install datasets: "
                f"pip install 'datasets>={_OLDEST_DATASETS}'"
            ) from error
        # Older ones can run a script that comes with the data set.
        if int(datasets.__version__.split(".")[0]) < _OLDEST_DATASETS:
            raise CorpusError(f"expected datasets {_OLDEST_DATASETS} or newer, found {datasets.__version__}")
        name, _, configuration = self.source.partition(":")
        try:
            rows = iter(datasets.load_dataset(name, configuration or None, split=self.split, streaming=True))
            for number in range(2**63):
                row = next(rows, None)
                if row is None:
                    return
                yield self._text_of(row, f"{self.source}, row {number}")
        except CorpusError:
            raise
        except Exception as error:  # what the library raises is neither listed nor of one class
            raise CorpusError(f"the data set {self.source!r} cannot be read: {error}") from error

    def _text_of(self, row: Any, place: str) -> str:
        if not isinstance(row, dict):
            raise CorpusError(f"{place}: expected a JSON object, found {type(row).__name__}")
        if self.field not in row:
            names = ", ".join(repr(str(name)[:40]) for name in islice(row, 10)) or "none"
            raise CorpusError(f"{place}: no field {self.field!r}; the fields are {names}")
        text = row[self.field]
        if not isinstance(text, str):
            raise CorpusError(f"{place}: expected text in the field {self.field!r}, found {type(text).__name__}")
        # json.loads lets half of a surrogate pair through, which no tokenizer takes
        return text.encode("utf-8", errors="replace").decode("utf-8")


def _paragraphs(path: Path) -> Iterator[str]:
    lines: list[str] = []
    size = 0
    with path.open(encoding="utf-8-sig") as file:
        for line in iter(lambda: file.readline(LONGEST_DOCUMENT), ""):
            if line.strip():
                lines.append(line)
                size += len(line)
            if lines and (not line.strip() or size >= LONGEST_DOCUMENT):
                yield "".join(lines).strip()
                lines, size = [], 0
    if lines:
        yield "".join(lines).strip()


def draw_pieces(
    policy: TokenPolicy,
    corpus: RunningText,
    rng: random.Random,
    *,
    n_pieces: int,
    length: int,
    per_document: int | None = None,
) -> tuple[list[tuple[int, ...]], str]:
    """Cut running text into pieces of a length in tokens, and draw some of them.

    Args:
        policy: the tokenizer and its BOS, which each piece starts with.
        corpus: where the text comes from.
        rng: what is drawn, and the order of what is drawn.
        n_pieces: how many.
        length: most tokens of a piece, BOS counted in. The last piece of a document is shorter; it is passed over
            with fewer than `SHORTEST` tokens.
        per_document: most pieces of one document, from its start; None for all. Pieces of one document are alike:
            1 keeps prompts independent. Mixed documents have no limit.

    Returns:
        Ids of each piece, and a note if there are fewer than asked for.

    Raises:
        CorpusError: the source cannot be read.
        PromptError: it has no piece that is long enough.
    """
    if length <= len(policy.prefix) + 1:
        raise PromptError(f"a prompt of running text needs at least {len(policy.prefix) + 2} tokens, found {length}")
    n_documents = 0

    def counted() -> Iterator[str]:
        nonlocal n_documents
        for text in corpus.documents(rng):
            if text.strip():
                n_documents += 1
                for start in range(0, len(text), LONGEST_DOCUMENT):
                    yield text[start : start + LONGEST_DOCUMENT]

    pieces = _cut_mixed(policy, counted(), length) if corpus.mixed else _cut(policy, counted(), length, per_document)
    drawn: list[tuple[int, ...]] = []
    for index, piece in enumerate(islice(pieces, POOL * n_pieces)):
        if index < n_pieces:
            drawn.append(piece)
        elif (place := rng.randrange(index + 1)) < n_pieces:
            drawn[place] = piece
    rng.shuffle(drawn)
    if n_documents == 0:
        raise PromptError(f"{corpus.source}: there is no text in it")
    if len(drawn) == n_pieces:
        return drawn, ""
    shortest = min(SHORTEST, length)
    note = (
        f"{len(drawn)} of {n_pieces} prompts: the corpus has {n_documents} documents, "
        f"and at least {shortest} tokens are needed"
    )
    if not drawn:
        raise PromptError(note)
    return drawn, note


def build_running_text(
    policy: TokenPolicy, corpus: RunningText, *, n_prompts: int, length: int = RUNNING_LENGTH, seed: int = 0
) -> tuple[list[Prompt], str]:
    """Prompts of running text, of family "running_text"; every token from the second on is a target.

    The same source and arguments give the same prompts on every machine.

    Args:
        policy: the tokenizer and its BOS.
        corpus: where the text comes from.
        n_prompts: how many.
        length: most tokens of a prompt, BOS counted in.
        seed: of what is drawn.

    Returns:
        The prompts, and a note if there are fewer than asked for.

    Raises:
        CorpusError: the source cannot be read.
        PromptError: it has no text that is long enough.
    """
    rng = random.Random(f"{seed}/running_text")
    pieces, note = draw_pieces(policy, corpus, rng, n_pieces=n_prompts, length=length)
    return [prompt_of_text(policy, ids, rng, "running_text", index) for index, ids in enumerate(pieces)], note


def prompt_of_text(policy: TokenPolicy, tokens: tuple[int, ...], rng: random.Random, family: str, index: int) -> Prompt:
    """A prompt that asks for every next token; its corrupted version is the same tokens, shuffled by `rng`."""
    first = len(policy.prefix)
    words = list(tokens[first:])
    positions = tuple(range(1, len(tokens) - 1))
    return Prompt(
        text=str(policy.tokenizer.decode(words, clean_up_tokenization_spaces=False)),
        tokens=tokens,
        positions=positions,
        targets=tuple(tokens[p + 1] for p in positions),
        family=family,
        split="held_out" if index % 2 else "train",
        corrupted=(*tokens[:first], *rng.sample(words, len(words))),
    )


def _cut(policy: TokenPolicy, texts: Iterable[str], length: int, per_document: int | None) -> Iterator[tuple[int, ...]]:
    room = length - len(policy.prefix)
    for text in texts:
        ids = policy.pieces_of(text)
        for start in islice(range(0, len(ids), room), per_document):
            piece = (*policy.prefix, *ids[start : start + room])
            if len(piece) >= min(SHORTEST, length):
                yield piece


def _cut_mixed(policy: TokenPolicy, texts: Iterable[str], length: int) -> Iterator[tuple[int, ...]]:
    room = length - len(policy.prefix)
    between = policy.pieces_of("\n\n")
    waiting: tuple[int, ...] = ()
    for text in texts:
        ids = (*waiting, *(between if waiting else ()), *policy.pieces_of(text))
        whole = len(ids) // room * room
        for start in range(0, whole, room):
            yield (*policy.prefix, *ids[start : start + room])
        waiting = ids[whole:]
    if len(policy.prefix) + len(waiting) >= min(SHORTEST, length):
        yield (*policy.prefix, *waiting)
