"""Users in the database, for tests in which somebody asks for something."""

from functions.kit.db import Database


async def add_user(db: Database, name: str, role: str) -> None:
    """A user as auth makes one, who cannot log in."""
    await db.execute("INSERT INTO users (username, password_hash, role) VALUES ($1, 'none', $2)", name, role)
