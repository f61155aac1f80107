-- itest: no-transaction
-- Deleting an item looks for its order lines. CONCURRENTLY, as in production: no lock that stops orders meanwhile.
CREATE INDEX CONCURRENTLY order_lines_by_item ON order_lines (item_id);
