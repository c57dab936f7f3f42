from pathlib import Path

import pytest

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


def test_the_subnet_is_the_first_that_overlaps_nothing() -> None:
    assert choose_subnet([]) == "172.29.0.0/24"
    assert choose_subnet(["172.29.0.128/25", "10.0.0.0/8"]) == "172.30.0.0/24"
    assert choose_subnet(["172.28.0.0/14"]) == "172.27.0.0/24"


def test_no_free_subnet_is_one_sentence() -> None:
    with pytest.raises(SetupError, match="is in use on this machine"):
        choose_subnet(["172.16.0.0/12"])
