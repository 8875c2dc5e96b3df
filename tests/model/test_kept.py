"""Compiled functions are kept, or compiled anew where there is nowhere to keep them."""

import pytest
from numba.core.caching import CompileResultCacheImpl

from nextreel.model.kept import kept


def twice(n: int) -> int:
    return 2 * n


def test_without_a_folder_to_keep_it_in_a_function_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cache" in repr(kept(nogil=True)(twice)._cache).lower()  # type: ignore[attr-defined]
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    assert kept(nogil=True)(twice)(21) == 42
