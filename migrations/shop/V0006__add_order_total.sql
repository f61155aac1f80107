-- The total at the time of the order, for every order that there is already, too.
ALTER TABLE orders ADD COLUMN total numeric(12, 2);

UPDATE orders
SET total = (
    SELECT coalesce(sum(quantity * unit_price), 0)
    FROM order_lines
    WHERE order_id = orders.id
);

ALTER TABLE orders
    ALTER COLUMN total SET NOT NULL,
    ADD CONSTRAINT orders_total_is_not_negative CHECK (total >= 0);
