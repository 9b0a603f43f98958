"""Looks for signs of trouble in what a task's last attempt did.

Everything is in the index, so a check reads no history, and finds the same in every index.
"""

from django.db.backends.utils import CursorWrapper

ALIKE = 3  # calls, from which on they are a sign
SLOW_SECONDS, SLOW_TIMES, SLOW_OF = 30, 10, 5  # at least, times the average, of so many calls
ATTEMPTS = 3

# Calls without a tool are steps that have none, or that cannot be read.
_FIND = f"""
    WITH step AS MATERIALIZED (
        SELECT * FROM task_index_indexedcall WHERE id BETWEEN %(first)s AND %(last)s),
    attempt AS MATERIALIZED (
        SELECT * FROM step WHERE attempt = (SELECT max(attempt) FROM step) AND tool <> ''),
    usual AS (SELECT tool, count(seconds) AS n, sum(seconds) AS seconds FROM step GROUP BY tool),
    finding (name, tool, n, checkpoint) AS (
        SELECT * FROM (
            SELECT 'repeated', tool, count(*) AS n, min(checkpoint) FROM attempt
            GROUP BY tool, arguments
            HAVING n >= {ALIKE} AND count(DISTINCT outcome) = 1 ORDER BY n DESC, 4 LIMIT 1)
        UNION ALL SELECT * FROM (
            SELECT 'varied', attempt.tool, count(*) AS n, min(checkpoint)
            FROM attempt JOIN task_index_failure AS failure ON failure.id = attempt.id
            GROUP BY attempt.tool, shape
            HAVING count(DISTINCT arguments) >= {ALIKE} ORDER BY n DESC, 4 LIMIT 1)
        UNION ALL SELECT * FROM (
            SELECT 'failing', tool, count(*) AS n, min(checkpoint) FROM attempt
            GROUP BY tool HAVING n >= {ALIKE} AND NOT max(success) ORDER BY n DESC, 4 LIMIT 1)
        UNION ALL SELECT * FROM (
            SELECT 'slow', attempt.tool, CAST(attempt.seconds AS INTEGER) AS n, checkpoint
            FROM attempt JOIN usual ON usual.tool = attempt.tool
            WHERE attempt.seconds >= {SLOW_SECONDS} AND usual.n >= {SLOW_OF}
            AND attempt.seconds
                > {SLOW_TIMES} * (usual.seconds - attempt.seconds) / (usual.n - 1)
            ORDER BY attempt.seconds DESC, checkpoint LIMIT 1)
        UNION ALL
        SELECT 'unanswered', '', 0, (SELECT max(checkpoint) FROM step) WHERE %(is_unanswered)s
        UNION ALL SELECT * FROM (
            SELECT 'restarted', '', attempt, min(checkpoint) FROM step
            WHERE attempt >= {ATTEMPTS} GROUP BY attempt ORDER BY attempt DESC LIMIT 1))
    INSERT INTO task_index_finding (id, name, tool, n, checkpoint)
    SELECT %(start)s + row_number() OVER (ORDER BY name), name, tool, n, checkpoint FROM finding"""
_FORGET = "DELETE FROM task_index_finding WHERE id BETWEEN %(start)s AND %(last)s"


def find(cursor: CursorWrapper, *, start: int, first: int, last: int, is_unanswered: bool) -> None:
    """Replace the findings of a task, given the ranges of its ids and of its calls' ids."""
    values = {"start": start, "first": first, "last": last, "is_unanswered": is_unanswered}
    cursor.execute(_FORGET, values)
    cursor.execute(_FIND, values)
