-- Nothing is lost that the lines of the orders don't say.
ALTER TABLE orders DROP COLUMN total;
