-- A store as the original made and filled it, and as others may have left it. The two CREATE TABLE
-- and the two CREATE INDEX are the original's own, to the letter and to the space.
CREATE TABLE IF NOT EXISTS task_records (
                task_id TEXT PRIMARY KEY,
                thread_id TEXT NOT NULL,
                channel TEXT NOT NULL,
                provider TEXT NOT NULL,
                model TEXT NOT NULL,
                status TEXT NOT NULL,
                execution_history_json TEXT NOT NULL,
                resumable_history_json TEXT NOT NULL,
                latest_checkpoint_note TEXT,
                checkpoint_count INTEGER NOT NULL DEFAULT 0,
                final_response TEXT,
                last_error TEXT,
                created_at TEXT NOT NULL,
                updated_at TEXT NOT NULL,
                completed_at TEXT
            );
            CREATE INDEX IF NOT EXISTS idx_task_records_thread
                ON task_records(thread_id, updated_at DESC);

            CREATE TABLE IF NOT EXISTS task_checkpoints (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                task_id TEXT NOT NULL,
                step_index INTEGER NOT NULL,
                checkpoint_note TEXT,
                items_json TEXT NOT NULL,
                created_at TEXT NOT NULL,
                FOREIGN KEY(task_id) REFERENCES task_records(task_id) ON DELETE CASCADE
            );
            CREATE INDEX IF NOT EXISTS idx_task_checkpoints_task_step
                ON task_checkpoints(task_id, step_index);

INSERT INTO task_records VALUES
    -- what the original writes
    ('telegram_42', 'telegram_42', 'telegram', 'openai', 'gpt-test', 'completed',
        '[{"role":"user","content":"hi"}]', '[{"role":"user","content":"hi"}]', 'note', 2, 'done', NULL,
        '2026-11-02T11:07:52.161973069+00:00', '2026-11-02T11:08:01+00:00', '2026-11-02T11:08:01+00:00'),
    ('cli_interactive:/home/u/my work/ü', 't''"; DROP TABLE x;--', 'cli', 'p', 'm', 'running',
        '[{"role":"user","content":"\u0000\u001b é 🚀"}]', '[]', NULL, 1, NULL, 'boom',
        '2026-11-02T11:07:52.161+00:00', '2026-11-02T11:07:52.161973+00:00', NULL),
    ('', '', '', '', '', 'timed_out', '[]', '[]', '', 0, '', '',
        '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00'),
    -- what a person or another program may have written
    ('odd status', 't', 'c', 'p', 'm', 'Paused ', '[["user","hi"]]', '[ ]', NULL, -3, NULL, NULL,
        '2026-11-02T11:07:52Z', '2026-11-02 11:07:52', 'yesterday'),
    ('corrupt', 't', 'c', 'p', 'm', 'failed', '{', '', NULL, 9223372036854775807, NULL, NULL, '', '', ''),
    ('blobs', x'00ff', x'', 'c', 'p', x'72756e6e696e67', x'5b5d', x'ff', x'00', x'01', x'ff', NULL,
        x'32303236', '2026-11-02T11:07:52+00:00', NULL),
    ('numbers', 42, 1.5, -0.0, 1e300, 0, 7, 8.25, 9, 'many', 10, 11, 12, 1793617672, 14),
    ('real count', 't', 'c', 'p', 'm', 'running', '[]', '[]', NULL, 1.5, NULL, NULL, 'a', 'b', NULL),
    ('no' || char(0) || 'end', 't' || char(0), 'c', 'p', 'm', 'running', '[]', '[]', char(0, 10), 0,
        NULL, NULL, 'a', 'b', NULL),
    ('not UTF-8 ' || CAST(x'ff' AS TEXT), 't', 'c', 'p', 'm', 'running', CAST(x'c328' AS TEXT), '[]',
        NULL, 0, NULL, NULL, 'a', 'b', NULL),
    (NULL, 'no id', 'c', 'p', 'm', 'running', '[]', '[]', NULL, 0, NULL, NULL, 'a', 'b', NULL),
    (NULL, 'no id', 'c', 'p', 'm', 'running', '[]', '[]', NULL, 0, NULL, NULL, 'a', 'b', NULL);

INSERT INTO task_checkpoints VALUES
    (1, 'telegram_42', 1, 'next: run it',
        '[{"tool_name":"shell","arguments":{"command":"ls"},"success":true,"output":"ok"}]',
        '2026-11-02T11:07:53.000000001+00:00'),
    (2, 'telegram_42', 1, NULL, '[]', '2026-11-02T11:07:54+00:00'),
    (3, 'cli_interactive:/home/u/my work/ü', 0, '', '[]', '2026-11-02T11:07:52.161973+00:00'),
    (7, 'corrupt', -1, x'00', '{"not":"a list"}', 'never'),
    (8, 'corrupt', 'one', 2, x'5b5d', 3.5),
    (9, '', 9223372036854775807, NULL, '[]', '2026-01-01T00:00:00+00:00'),
    (12, 'blobs', 1.5, NULL, 'NaN', '');
-- the ids from 13 to 20 were given and deleted
UPDATE sqlite_sequence SET seq = 20 WHERE name = 'task_checkpoints';
