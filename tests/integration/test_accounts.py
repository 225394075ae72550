"""One database, one account per market: paper and money are never mixed, and a renewed key is no other account."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.accounts import WrongAccount, claim, rename
from storage.engine import open_engine


@pytest.fixture
async def engine(emptied_database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(emptied_database_url)
    yield opened
    await opened.dispose()


async def test_the_first_worker_claims_the_journal_and_the_same_account_finds_it(engine: AsyncEngine) -> None:
    for _ in range(2):
        await claim(engine, {"upbit": "live:aaaa", "kis": "paper"})
    with pytest.raises(WrongAccount, match="upbit's account live:aaaa, the settings name paper") as refused:
        await claim(engine, {"upbit": "paper"})
    assert "same-account" not in str(refused.value)


async def test_a_renewed_key_keeps_its_journal_once_a_person_says_so(engine: AsyncEngine) -> None:
    await claim(engine, {"upbit": "live:aaaa"})
    with pytest.raises(WrongAccount, match="autotrader same-account upbit"):
        await claim(engine, {"upbit": "live:bbbb"})
    assert await rename(engine, "upbit", "live:bbbb") == "live:aaaa"
    await claim(engine, {"upbit": "live:bbbb"})


async def test_nobodys_word_makes_money_of_paper(engine: AsyncEngine) -> None:
    assert await rename(engine, "upbit", "live:aaaa") is None
    await claim(engine, {"upbit": "paper"})
    with pytest.raises(WrongAccount, match="never mixed"):
        await rename(engine, "upbit", "live:aaaa")
