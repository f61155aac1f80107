-- What the shop in production says to PostgreSQL, a statement for each that its code holds: the release that runs while
-- the next one's migrations are applied. test_expand_contract.py has them run, as the application's role, one after the
-- other. Replace them with each release; log_statement = all, or pg_stat_statements, tells what it says.

-- users.py, sessions.py, auth.py
INSERT INTO users (email, password_hash) VALUES ('new@example.com', 'scrypt$') RETURNING id, email, role;

SELECT id, password_hash FROM users WHERE lower(email) = lower('new@example.com');

INSERT INTO sessions (user_id) SELECT id FROM users WHERE email = 'new@example.com' RETURNING id;

INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
SELECT sha256('a token'), id, now() + make_interval(secs => 3600) FROM sessions;

SELECT users.id, email, role, sessions.id AS session_id
FROM sessions JOIN users ON users.id = user_id WHERE ended_at IS NULL;

SELECT session_id, used_at IS NOT NULL, expires_at <= now(), ended_at IS NOT NULL
FROM refresh_tokens JOIN sessions ON sessions.id = session_id WHERE token_hash = sha256('a token') FOR UPDATE;

UPDATE refresh_tokens SET used_at = now() WHERE token_hash = sha256('a token');

UPDATE sessions SET ended_at = now() WHERE ended_at IS NULL;

-- items.py
INSERT INTO items (sku, name, price, stock) VALUES ('TEAPOT', 'Teapot', 24.90, 3)
RETURNING id, sku, name, price, stock;

SELECT id, sku, name, price, stock FROM items WHERE id > 0 ORDER BY id LIMIT 20;

UPDATE items SET sku = 'TEAPOT-2', name = 'Teapot', price = 25.90, stock = 3 WHERE sku = 'TEAPOT'
RETURNING id, sku, name, price, stock;

DELETE FROM items WHERE sku = 'TEAPOT-1';

-- orders.py
SELECT id, price, stock FROM items WHERE id = ANY ('{1,2}') ORDER BY id FOR UPDATE;

INSERT INTO orders (user_id, total, idempotency_key)
SELECT id, 25.90, 'a key' FROM users WHERE email = 'new@example.com' RETURNING id;

INSERT INTO order_lines (order_id, position, item_id, quantity, unit_price)
SELECT orders.id, 1, items.id, 1, 25.90 FROM orders, items WHERE idempotency_key = 'a key' AND sku = 'TEAPOT-2';

UPDATE items SET stock = stock - 1 WHERE sku = 'TEAPOT-2';

SELECT id, user_id, status, total, created_at, (
    SELECT jsonb_agg(
        jsonb_build_object('item_id', item_id, 'quantity', quantity, 'unit_price', unit_price::text) ORDER BY position
    )
    FROM order_lines WHERE order_id = orders.id
) AS lines
FROM orders WHERE idempotency_key = 'a key';
