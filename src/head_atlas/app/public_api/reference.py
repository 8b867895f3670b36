"""The reference of the public calls, read from their docstrings: for docs/api.md and for the tools' descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from head_atlas.app.limits import Limits

SECTIONS = ("Args", "Returns", "Example")
_INTRODUCTION = """# The public calls

Everything here can be used from Python, from the command line, and by agents over MCP: the same calls, with the same
limits as the page. Written by `python -m head_atlas.app.public_api > docs/api.md` from the docstrings; do not edit by
hand. On one's own machine the library does more, and without a server: see [README.md](../README.md).

Start a server with `make app`, or take the address of a Space for `http://127.0.0.1:7860`.

## From Python

```
pip install gradio_client
```

```python
from gradio_client import Client

client = Client("http://127.0.0.1:7860")
found = client.predict("Harry Potter went home. Everyone knew Harry", heads="0.4", api_name="/ablate")
print(found["effects"]["logprob"], found["units"]["logprob"])
```

## With curl

A call takes two requests: the first gives an id, the second waits for the answer.

```bash
ID=$(curl -s http://127.0.0.1:7860/gradio_api/call/v2/ablate -H "Content-Type: application/json" \\
  -d '{"prompt": "Harry Potter went home. Everyone knew Harry", "heads": "0.4"}' | cut -d '"' -f 4)
curl -sN http://127.0.0.1:7860/gradio_api/call/v2/ablate/$ID
```

The answer is a stream of events. `event: complete` has a list with one object, the result, on its `data:` line;
`event: error` an object whose `error` says in a sentence what was wrong; `event: heartbeat` means: still running.
Arguments that are left out take their defaults. A call or an argument that does not exist is refused by the first
request (404, 422), which says why in `detail`.

## From an MCP client

```
pip install -r requirements-mcp.txt
```

With that in the app's environment (`make` has its own: `.venv/bin/pip`), `make app` or `python app.py` is an MCP server
too, over streamable HTTP; `MCP=0` turns it off. In the settings of the client:

```json
{
  "mcpServers": {
    "head-atlas": {
      "url": "http://127.0.0.1:7860/gradio_api/mcp/"
    }
  }
}
```

The tools are the calls below, and answer in JSON. On a Space their names begin with the Space's. A client that allows
only some tools can name them: `.../gradio_api/mcp/?tools=find_heads,head_summary`.

## What holds for all

- Heads are zero-based query heads, "2.5" or "L2H5". `model` is a name of `list_models`; empty is the default.
- A *score* is read from patterns or weights, an *attribution* is a decomposition, an *effect* is causal:
  `effect = ablated - clean`. Every measure with its formula: [measures.md](measures.md).
- Numbers are not rounded unless it is said. `null` means that there is no number, and `reason` (or `reasons`, by name)
  says why. Arrays over named axes are objects: `dims`, `shape`, `coords` (labels of an axis, if any), `values`.
- Experiments measure one prompt, after its last token. No interval says how far that holds for other prompts: what is
  true of this one may be untrue of the next. `warning` says when the loaded weights are not those that the atlas was
  measured on.
- Limits, as they are by default: prompts of {prompt_characters} characters and {prompt_tokens} tokens, {removed_heads}
  heads removed at once, {run_seconds} s for one run. A model runs one thing at a time, so others may come first. On a
  public server one visitor may begin {runs_per_minute} experiments in a minute, and make {reads_per_minute} calls that
  read an atlas. A server may set other limits; who meets one is told which, and when to try again.
- Only models that the server names can be used, and nothing is kept.
- Errors are sentences that name what was expected and found. Nothing else goes wrong on purpose: an error without a
  sentence is a bug."""


def introduction() -> str:
    """How to call, and what holds for every call."""
    words = _INTRODUCTION
    for name, value in asdict(Limits()).items():
        words = words.replace(f"{{{name}}}", str(value))
    return words


@dataclass(frozen=True)
class Documented:
    """A call in words.

    Attributes:
        name: of the call.
        signature: parameters with types and defaults, in plain characters.
        summary: what it does.
        arguments: by parameter, what it is.
        returns: what comes back.
        example: Python that calls it, with a `client` of gradio_client.
    """

    name: str
    signature: str
    summary: str
    arguments: dict[str, str]
    returns: str
    example: str

    def flat(self) -> str:
        """A docstring with one line for each argument, and no example."""
        lines = [self.summary]
        if self.arguments:
            lines += ["", "Args:", *(f"    {name}: {text}" for name, text in self.arguments.items())]
        return "\n".join([*lines, "", "Returns:", f"    {self.returns}"])

    def markdown(self) -> str:
        """Its section of the reference."""
        parts = [f"### {self.name}", self.summary, f"```\n{self.name}{self.signature}\n```"]
        if self.arguments:
            parts.append("\n".join(f"- `{name}`: {text}" for name, text in self.arguments.items()))
        return "\n\n".join([*parts, f"Returns {self.returns}", f"```python\n{self.example}\n```"])


def documented(call: Callable[..., Any]) -> Documented:
    """Read a call's docstring.

    Raises:
        ValueError: a section or a parameter is missing, or one is described that there is not.
    """
    sections = _sections(inspect.getdoc(call) or "")
    parameters = [p for p in inspect.signature(call, eval_str=True).parameters.values() if p.name != "self"]
    arguments = _arguments(sections.get("Args", []))
    name = call.__name__
    if list(arguments) != [p.name for p in parameters]:
        raise ValueError(f"{name} describes {list(arguments)}, and takes {[p.name for p in parameters]}")
    for section in ("", "Returns", "Example"):
        if not any(sections.get(section, [])):
            raise ValueError(f"{name}: its docstring has no {section or 'summary'}")
    return Documented(
        name=name,
        signature=f"({', '.join(str(p) for p in parameters)})",
        summary=_joined(sections[""]),
        arguments=arguments,
        returns=_joined(sections["Returns"]),
        example="\n".join(line.removeprefix("    ") for line in sections["Example"]).strip(),
    )


def _sections(text: str) -> dict[str, list[str]]:
    """Lines by the heading they stand under; "" for those before any."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line in text.splitlines():
        if line.endswith(":") and line[:-1] in SECTIONS:
            heading = line[:-1]
            found[heading] = []
        else:
            found[heading].append(line)
    return found


def _arguments(lines: list[str]) -> dict[str, str]:
    """Descriptions by parameter; a line that is indented further goes on with the one above."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        if line.startswith("    ") and not line.startswith("     "):
            name, _, rest = line.strip().partition(": ")
            found[name] = [rest]
        elif line.strip() and name:
            found[name].append(line.strip())
    return {key: " ".join(parts) for key, parts in found.items()}


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())
