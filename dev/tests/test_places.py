from pathlib import Path

import pytest

from muster_dev import instance
from muster_dev.errors import SetupError
from muster_dev.instance import choose_subnet, name_for
from muster_dev.paths import Paths, from_environment


def test_by_default_cache_and_state_are_in_the_home_folder() -> None:
    paths = from_environment({"HOME": "/home/ada"})
    assert paths.cache == Path("/home/ada/.cache/muster")
    assert paths.state == Path("/home/ada/.local/state/muster")
    assert (paths.repo / "dev" / "src" / "muster_dev").is_dir()


def test_variables_name_other_places() -> None:
    env = {"HOME": "/home/ada", "MUSTER_CACHE": "/big/cache", "MUSTER_STATE": "/fast/state"}
    paths = from_environment(env)
    assert (paths.cache, paths.state) == (Path("/big/cache"), Path("/fast/state"))


@pytest.mark.parametrize("variable", ["MUSTER_CACHE", "MUSTER_STATE"])
def test_a_relative_place_is_refused(variable: str) -> None:
    with pytest.raises(SetupError, match=f"{variable} is 'here'; it must be an absolute path"):
        from_environment({"HOME": "/home/ada", variable: "here"})


@pytest.mark.parametrize("variable", ["MUSTER_CACHE", "MUSTER_STATE"])
def test_a_place_in_the_checkout_is_refused(variable: str) -> None:
    repo = from_environment({"HOME": "/home/ada"}).repo
    with pytest.raises(SetupError, match=f"{variable} is .*, inside the checkout"):
        from_environment({"HOME": "/home/ada", variable: str(repo / "state")})


def test_two_state_folders_have_different_names_that_fit_an_interface() -> None:
    repo = Path("/repo")
    names = {name_for(Paths(repo, repo, Path(state))) for state in ("/a", "/b")}
    assert len(names) == 2
    assert all(len(name) <= 15 for name in names)


def test_the_subnet_overlaps_nothing_in_use() -> None:
    first = choose_subnet("muster-1", [])
    second = choose_subnet("muster-1", [first, "10.0.0.0/8"])
    assert second != first
    third = choose_subnet("muster-1", [f"{second[:-4]}128/25", first])
    assert third not in {first, second}
    assert choose_subnet("muster-1", ["172.28.0.0/14"]) in {
        f"172.{n}.0.0/24" for n in range(24, 28)
    }


def test_two_state_folders_that_choose_at_once_seldom_choose_the_same() -> None:
    chosen = [choose_subnet(f"muster-{n}", []) for n in range(80)]
    assert len(set(chosen)) == 8


def test_a_subnet_that_was_taken_meanwhile_is_chosen_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(tmp_path, tmp_path / "cache", tmp_path / "state")
    in_use: list[str] = []
    monkeypatch.setattr(instance, "_networks_in_use", lambda: in_use)
    before = instance.load(paths)
    assert instance.renew(paths) == before
    in_use.append(before.subnet)
    after = instance.renew(paths)
    assert after.subnet != before.subnet
    assert instance.load(paths) == after


def test_no_free_subnet_is_one_sentence() -> None:
    with pytest.raises(SetupError, match="is in use on this machine"):
        choose_subnet("muster-1", ["172.16.0.0/12"])
