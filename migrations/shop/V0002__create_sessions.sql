-- A login opens a session; every refresh token belongs to one and is used once.
CREATE TABLE sessions (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    bigint      NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    CONSTRAINT sessions_end_after_their_start CHECK (ended_at >= created_at)
);

CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    token_hash bytea       PRIMARY KEY, -- SHA-256: whoever reads the table can't log in with it
    session_id uuid        NOT NULL REFERENCES sessions ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT refresh_tokens_hash_is_sha256 CHECK (octet_length(token_hash) = 32),
    CONSTRAINT refresh_tokens_expire_after_issue CHECK (expires_at > issued_at)
);

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- The application marks sessions and tokens as spent; it never rewrites whose they are.
GRANT SELECT, INSERT, UPDATE (ended_at) ON sessions TO app;
GRANT SELECT, INSERT, UPDATE (used_at) ON refresh_tokens TO app;
