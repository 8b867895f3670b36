"""Atlases on the hub: the real client against a small hub of our own on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import constants
from synthetic_atlas import flip_bits, synthetic_contents

from head_atlas.errors import AtlasError
from head_atlas.store import open_atlas, write_atlas
from head_atlas.store.fetching import checksum_line, fetch
from head_atlas.store.hub import HubAddress
from head_atlas.store.publishing import describe, publish
from hub_server import point_client_at, serving

ROOT = Path(__file__).parents[2]
NAME = "someone/heads"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two atlases that differ."""
    folder = tmp_path_factory.mktemp("atlases")
    for name, n_prompts in (("old.h5", 2), ("new.h5", 3)):
        write_atlas(folder / name, synthetic_contents(2, 2, n_prompts))
    return folder / "old.h5", folder / "new.h5"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that the client of this process talks to, with an empty cache and a token."""
    with serving() as hub:
        point_client_at(monkeypatch, hub.address, tmp_path / "cache")
        monkeypatch.setenv("HF_TOKEN", "hf_writer")
        hub.tokens = {"hf_writer", "hf_reader"}
        yield hub


def content(path, sha256=None):
    """What a repository holds that was published from this file."""
    body = path.read_bytes()
    return {"atlas.h5": body, "atlas.h5.sha256": checksum_line(sha256 or hashlib.sha256(body).hexdigest()).encode()}


def published(hub, path, tag="v1"):
    repository = hub.add("datasets", NAME, content(path))
    repository.tags[tag] = repository.branches["main"]
    return repository


def cached_atlases(tmp_path):
    """Every cached file that is not a checksum, a name or a lock."""
    found = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and ".locks" not in path.parts]
    return [path for path in found if path.stat().st_size > 200 and path.name != "CACHEDIR.TAG"]


def test_what_was_published_is_what_is_opened(hub, files):
    old, new = files
    said = []
    first = publish(old, f"hub:{NAME}@v1", license_id="cc-by-4.0", say=said.append)
    repository = hub.repositories[f"datasets/{NAME}"]
    assert len(repository.commits) == 2  # the hub's own, and ours: all files in one
    assert repository.tags == {"v1": first.commit}
    assert repository.branches["main"] == first.commit
    held = repository.commits[first.commit]
    assert held["atlas.h5"] == old.read_bytes()
    assert held["atlas.h5.sha256"].decode() == f"{hashlib.sha256(old.read_bytes()).hexdigest()}  atlas.h5\n"
    assert f"published as commit {first.commit}" in said[-1]

    second = publish(new, f"hub:{NAME}@v2", license_id="cc-by-4.0", say=said.append)
    assert repository.tags == {"v1": first.commit, "v2": second.commit}
    with open_atlas(f"hub:{NAME}@v1") as atlas, open_atlas(old) as original:
        assert atlas.source.commit == first.commit
        assert atlas.source.sha256 == first.sha256
        assert str(atlas.source.address) == f"hub:{NAME}@v1"
        assert str(atlas.source.pinned_address) == f"hub:{NAME}@{first.commit}"
        assert original.source is None
        np.testing.assert_array_equal(atlas.scores["induction"].values, original.scores["induction"].values)
    assert fetch(f"hub:{NAME}").commit == second.commit


def test_the_card_states_what_the_file_is(hub, files):
    publish(files[0], f"hub:{NAME}@v1", license_id="cc-by-4.0")
    repository = hub.repositories[f"datasets/{NAME}"]
    card = repository.commits[repository.tags["v1"]]["README.md"].decode()
    front, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.DOTALL).groups()
    fields = yaml.safe_load(front)
    sha256 = hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert fields["license"] == "cc-by-4.0"
    assert fields["head_atlas"]["sha256"] == f"sha256:{sha256}"
    assert fields["head_atlas"]["bytes"] == files[0].stat().st_size
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", fields["head_atlas"]["created"])
    for part in ("2 layers x 2 heads", "20 prompts", sha256, f'open_atlas("hub:{NAME}@v1")', "`induction`"):
        assert part in body
    titles = ["What it holds", "How it was measured", "Limits", "Provenance", "Checksum", "Licence", "How to open it"]
    assert re.findall(r"^## (.*)$", body, re.MULTILINE) == titles


def test_the_names_in_an_atlas_cannot_change_the_card(files, tmp_path):
    contents = synthetic_contents(2, 2, 2)
    hostile = "x`|<img src=y>\n---\nlicense: mine\n# Head"
    strange = tmp_path / "strange.h5"
    provenance = {**contents.provenance, "model_id": hostile, "model_revision": hostile}
    write_atlas(strange, replace(contents, provenance=provenance, left_out={hostile: hostile}))
    card = describe(strange, f"hub:{NAME}@v1", "cc-by-4.0")[0]
    honest = describe(files[0], f"hub:{NAME}@v1", "cc-by-4.0")[0]
    front, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.DOTALL).groups()
    assert yaml.safe_load(front)["license"] == "cc-by-4.0"
    assert re.findall("^#.*", body, re.MULTILINE)[1:] == re.findall("^#.*", honest, re.MULTILINE)[1:]
    outside = re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", body, flags=re.DOTALL))
    assert "<img" in body
    assert "<img" not in outside
    assert "license: mine" not in outside


def test_a_damaged_atlas_is_not_published(hub, files, tmp_path):
    damaged = Path(shutil.copy(files[0], tmp_path / "damaged.h5"))
    flip_bits(damaged, "effects/kl")
    with pytest.raises(AtlasError, match="effects/kl"):
        publish(damaged, f"hub:{NAME}@v1", license_id="cc-by-4.0")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("address", "license_id", "words"),
    [
        (f"hub:{NAME}", "cc-by-4.0", "names no version"),
        (f"hub:{NAME}@main", "cc-by-4.0", "names no version"),
        (f"hub:{NAME}@{'a' * 40}", "cc-by-4.0", "names no version"),
        (f"hub:{NAME}@v1", "My own: licence", "not a licence as the hub spells them"),
        ("somewhere", "cc-by-4.0", "not the address of an atlas"),
    ],
)
def test_an_incomplete_order_is_refused_before_the_hub_is_asked(hub, files, address, license_id, words):
    with pytest.raises(AtlasError, match=words):
        publish(files[0], address, license_id=license_id)
    assert hub.asked == []


def test_publishing_without_the_right_to(hub, files, monkeypatch):
    def refusal():
        with pytest.raises(AtlasError) as error:
            publish(files[0], f"hub:{NAME}@v1", license_id="cc-by-4.0")
        return str(error.value)

    monkeypatch.delenv("HF_TOKEN")
    assert refusal() == "no token: log in to the hub with `hf auth login`, or set HF_TOKEN"
    monkeypatch.setenv("HF_TOKEN", "hf_forged")
    assert refusal().startswith("the hub asks for a valid token")

    repository = hub.add("datasets", NAME, {".gitattributes": b""})
    repository.writers = {"hf_writer"}
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert refusal().startswith(f"your token may not do this to '{NAME}': it needs the right")
    assert len(repository.commits) == 1


def test_what_is_there_is_not_overwritten(hub, files):
    def refusal():
        with pytest.raises(AtlasError) as error:
            publish(files[1], f"hub:{NAME}@v1", license_id="cc-by-4.0")
        return str(error.value)

    repository = published(hub, files[0])
    assert f"hub:{NAME}@v1 is there already" in refusal()
    repository.tags.clear()
    hub.meanwhile = {f"POST /api/datasets/{NAME}/commit": lambda: repository.commit({"other": b"someone else's"})}
    assert "changed while this was published: run the command again" in refusal()
    assert repository.tags == {}
    assert len(repository.commits) == 2
    hub.refused = {f"POST /api/datasets/{NAME}/tag": 409}
    words = refusal()
    newest = repository.branches["main"]
    assert f"hub:{NAME}@v1 is there already; commit {newest} was made, without a tag" in words
    assert len(repository.commits) == 3
    hub.refused = {}
    hub.add("datasets", NAME, {"README.md": b"# My recipes"})
    assert f"'{NAME}' holds something else" in refusal()


def test_what_arrives_changed_gets_no_tag(hub, files):
    repository = hub.add("datasets", NAME, {".gitattributes": b""})
    oid = hashlib.sha256(files[0].read_bytes()).hexdigest()
    hub.meanwhile = {f"POST /api/datasets/{NAME}/commit": lambda: hub.large.update({oid: b"something else"})}
    with pytest.raises(AtlasError, match=r"was made, but not tagged: the hub holds \(14, "):
        publish(files[0], f"hub:{NAME}@v1", license_id="cc-by-4.0")
    assert repository.tags == {}


def test_an_interrupted_download_goes_on_where_it_was(hub, files):
    published(hub, files[0])
    hub.cut = {"atlas.h5": [1000]}
    found = fetch(f"hub:{NAME}@v1")
    assert found.path.read_bytes() == files[0].read_bytes()
    assert hub.sent.count("atlas.h5") == 2


@pytest.mark.slow
def test_half_a_file_is_never_taken_for_one(hub, files, tmp_path):
    published(hub, files[0])
    hub.cut = {"atlas.h5": [1000] + [0] * 9}  # it breaks off, and then nothing more comes
    with pytest.raises(AtlasError, match=r"atlas\.h5 of hub:someone/heads@v1 cannot be downloaded \(Remote"):
        fetch(f"hub:{NAME}@v1")
    assert cached_atlases(tmp_path) == []
    hub.cut = {}
    assert fetch(f"hub:{NAME}@v1").path.read_bytes() == files[0].read_bytes()


def test_a_client_that_is_killed_halfway_leaves_nothing_that_is_taken_for_an_atlas(hub, files, tmp_path):
    published(hub, files[0])
    hub.held["atlas.h5"] = threading.Event()
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(tmp_path / "cache")}
    code = f"from head_atlas.store.fetching import fetch; fetch('hub:{NAME}@v1')"
    client = subprocess.Popen([sys.executable, "-c", code], env={**environment, "HF_HUB_DISABLE_XET": "1"})
    while "atlas.h5" not in hub.sent and client.poll() is None:
        time.sleep(0.05)
    client.kill()
    assert client.wait() == -signal.SIGKILL
    hub.held.pop("atlas.h5").set()
    assert fetch(f"hub:{NAME}@v1").path.read_bytes() == files[0].read_bytes()
    assert hub.sent.count("atlas.h5") == 2


@pytest.mark.parametrize("name", ["atlas.h5", "atlas.h5.sha256"])
def test_bytes_that_arrive_wrong_are_refused_and_not_kept(hub, files, tmp_path, name):
    published(hub, files[0])
    hub.flipped = {name}
    said = []
    with pytest.raises(AtlasError, match="is damaged and was removed from the cache: its sha256 is "):
        fetch(f"hub:{NAME}@v1", said.append)
    assert hub.sent.count("atlas.h5") == 2  # once more, in case it was the way
    assert cached_atlases(tmp_path) == []
    hub.flipped = set()
    assert fetch(f"hub:{NAME}@v1").path.read_bytes() == files[0].read_bytes()


def test_bytes_that_rot_in_the_cache_are_fetched_anew(hub, files, monkeypatch):
    commit = published(hub, files[0]).branches["main"]
    path = fetch(f"hub:{NAME}@{commit}").path
    rotten = bytearray(path.read_bytes())
    rotten[-1] ^= 1

    path.resolve().write_bytes(rotten)
    assert fetch(f"hub:{NAME}@{commit}").path.read_bytes() == files[0].read_bytes()
    path.resolve().write_bytes(rotten)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(AtlasError, match=r"removed from the cache: .* cannot be downloaded"):
        fetch(f"hub:{NAME}@{commit}")
    assert not path.exists()


def test_a_commit_stays_what_it_is_when_the_branch_moves(hub, files):
    old, new = files
    repository = published(hub, old)
    commit = repository.branches["main"]
    said = []
    assert fetch(f"hub:{NAME}", said.append).commit == commit
    repository.commit(content(new))
    hub.asked.clear()
    assert fetch(f"hub:{NAME}@{commit}").path.read_bytes() == old.read_bytes()
    assert hub.asked == []
    found = fetch(f"hub:{NAME}", said.append)
    assert found.path.read_bytes() == new.read_bytes()
    assert f"hub:{NAME}@main: newer than last time, {commit[:12]} then and {found.commit[:12]} now" in said


def test_a_tag_that_moved_is_refused(hub, files):
    old, new = files
    repository = published(hub, old)
    before = fetch(f"hub:{NAME}@v1").commit
    now = repository.tags["v1"] = repository.commit(content(new))
    for _ in range(2):
        with pytest.raises(AtlasError) as error:
            fetch(f"hub:{NAME}@v1")
        assert f"the tag 'v1' of '{NAME}' was moved after it was opened here" in str(error.value)
        assert f"the old hub:{NAME}@{before} or the new hub:{NAME}@{now}" in str(error.value)
    assert fetch(f"hub:{NAME}@{now}").path.read_bytes() == new.read_bytes()


def test_what_cannot_be_read_is_said_in_words(hub, files):
    repository = published(hub, files[0])
    hub.add("datasets", "some/gated", {}).gated = True
    hub.add("datasets", "some/recipes", {"README.md": b"# Recipes"})
    repository.commits["b" * 40] = {**content(files[0]), "atlas.h5.sha256": b"0" * 2000}
    for address, words in {
        "hub:no/such@v1": "there is no data set 'no/such' on the hub, or it is private and hidden from you",
        "hub:some/gated": "'some/gated' is gated: accept its terms",
        f"hub:{NAME}@v9": f"'{NAME}' has no revision 'v9'",
        "hub:some/recipes": "hub:some/recipes@main holds no published atlas",
        f"hub:{NAME}@{'b' * 40}": "holds no published atlas",
    }.items():
        with pytest.raises(AtlasError, match=re.escape(words)):
            open_atlas(address)
    for status, words in {
        401: "the hub asks for a valid token",
        403: "your token may not do this to 'someone/heads'",
        404: "there is no data set 'someone/heads' on the hub",
        503: "hub:someone/heads@v1 cannot be downloaded, and no copy is cached: the hub cannot be reached (HfHubHTTP",
    }.items():
        hub.refused = {"GET /api": status}
        with pytest.raises(AtlasError, match=re.escape(words)):
            open_atlas(f"hub:{NAME}@v1")
    hub.refused = {"HEAD /datasets": 403}  # it may be listed, and not be read
    with pytest.raises(AtlasError, match="your token may not do this to 'someone/heads'"):
        open_atlas(f"hub:{NAME}@v1")
    assert hub.sent == []


def test_without_a_network_what_is_cached_still_opens(hub, files, tmp_path, monkeypatch):
    commit = published(hub, files[0]).branches["main"]
    path = fetch(f"hub:{NAME}").path

    def check(why):
        said = []
        assert fetch(f"hub:{NAME}", said.append).path == path
        assert said[0].startswith(f"hub:{NAME}@main: the hub cannot be reached ({why}")
        assert said[0].endswith(f"using the copy cached at {commit[:12]}")
        assert fetch(f"hub:{NAME}@{commit}", said.append).path == path
        assert len(said) == 1
        for other in ("hub:no/such@v1", f"hub:{NAME}@v1"):
            with pytest.raises(AtlasError, match=rf"{other} cannot be downloaded, and no copy is cached: .*\({why}"):
                fetch(other)

    point_client_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")  # nothing listens there
    check("ConnectError")
    with pytest.raises(AtlasError, match=r"cannot be reached, or failed \(ConnectError.*; nothing was published"):
        publish(files[0], f"hub:{NAME}@v2", license_id="cc-by-4.0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    check("HF_HUB_OFFLINE is set")


def test_damage_that_shows_later_is_told_of_the_address(hub, files, tmp_path):
    damaged = Path(shutil.copy(files[0], tmp_path / "damaged.h5"))
    flip_bits(damaged, "scores/sink")
    published(hub, damaged)
    with open_atlas(f"hub:{NAME}@v1") as atlas, pytest.raises(AtlasError) as refusal:
        atlas.scores["sink"]
    assert str(refusal.value).startswith(f"hub:{NAME}@v1: /scores/sink cannot be read")
    assert str(tmp_path) not in str(refusal.value)


def test_a_file_that_is_no_atlas_is_refused_whatever_its_checksum(hub, files, tmp_path, monkeypatch):
    strange = tmp_path / "strange.h5"
    strange.write_bytes(files[0].read_bytes()[:5000])
    published(hub, strange)
    with pytest.raises(AtlasError, match=f"hub:{NAME}@v1: atlas.h5 is truncated"):
        open_atlas(f"hub:{NAME}@v1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(AtlasError, match="no copy is cached"):
        open_atlas(f"hub:{NAME}@v1")


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("hub:a/b", "a/b", "main"),
        ("hub:a/b.c-d@v1.0", "a/b.c-d", "v1.0"),
        (f"hub:a/b@{'0' * 40}", "a/b", "0" * 40),
        ("hub:a/b@refs/pr/1", "a/b", "refs/pr/1"),
    ],
)
def test_addresses(text, repo, revision):
    address = HubAddress.parse(text)
    assert (address.repo, address.revision) == (repo, revision)
    assert HubAddress.parse(str(address)) == address
    assert address.pinned == (revision == "0" * 40)


@pytest.mark.parametrize(
    "text",
    ["hub:", "hub:a", "hub:a/b@", "hub:a/b@../../etc", "hub:a/b/c", "hub:../a", "hub:a/..b@v", "a/b@v1", "hub:a/b@v 1"],
)
def test_what_is_no_address(text):
    with pytest.raises(AtlasError, match="is not the address of an atlas"):
        HubAddress.parse(text)


def test_the_script_publishes_and_fetches(hub, files, tmp_path):
    """As a person does it: other processes, told by the environment alone; and no torch is needed to open."""
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_writer"}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def run(*command):
        return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)

    script, address = str(ROOT / "scripts" / "atlas.py"), f"hub:{NAME}@v1"
    done = run(script, "publish", str(files[0]), address, "--license", "cc-by-4.0")
    assert done.returncode == 0, done.stderr
    commit = hub.repositories[f"datasets/{NAME}"].tags["v1"]
    assert done.stdout == f"hub:{NAME}@{commit}\n"
    done = run(script, "fetch", address)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == files[0].read_bytes()
    code = "import sys, head_atlas; print(head_atlas.open_atlas(sys.argv[1]).source.commit, 'torch' in sys.modules)"
    assert run("-c", code, address).stdout == f"{commit} False\n"
    done = run(script, "fetch", f"hub:{NAME}@v9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: '{NAME}' has no revision 'v9'\n"
