"""How long a name is locked after wrong passwords: a table, read by SQL and by the tests.

The lock belongs to the name that was typed, whether a user has it or not: a lock on real names alone would tell which
names are real. It always ends by itself, so the owner gets in again; an API key works all the while, and an admin who
sets a new password lifts it at once.
"""

from typing import Final

# A person mistypes; four tries cost nothing.
FREE_ATTEMPTS: Final = 4
# Past this a guesser is at 96 tries a day, and a longer lock would only help somebody who wants to keep the owner out.
LONGEST_LOCK_S: Final = 900
# After this long without a try the count starts anew; longer than the longest lock, so waiting out a lock resets nothing.
FORGET_AFTER_S: Final = 3600

# LOCK_S[n - 1]: seconds of lock after the n-th wrong password in a row; the last one holds for all that follow.
LOCK_S: Final[tuple[int, ...]] = (
    *(0 for _ in range(FREE_ATTEMPTS)),
    *(min(2**power, LONGEST_LOCK_S) for power in range(LONGEST_LOCK_S.bit_length() + 1)),
)
