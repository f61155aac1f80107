CREATE TYPE payment_status AS ENUM ('pending', 'paid', 'failed');

-- `pending`: the provider has been asked, or is about to be, and how it ended is not known. Only `failed` is known to have
-- cost nobody anything, so only then another payment of the order may begin.
CREATE TABLE payments (
    id          uuid           PRIMARY KEY DEFAULT gen_random_uuid(), -- the idempotency key of every attempt at it, too
    order_id    bigint         NOT NULL REFERENCES orders,
    token       text           NOT NULL, -- stands for the customer's card, and is worth nothing to anybody else
    amount      numeric(12, 2) NOT NULL CONSTRAINT payments_amount_is_not_negative CHECK (amount >= 0),
    status      payment_status NOT NULL DEFAULT 'pending',
    provider_id text           CONSTRAINT payments_provider_id_key UNIQUE,
    failure     text,
    busy_until  timestamptz, -- somebody is asking the provider; whoever dies over it blocks nobody for ever
    created_at  timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT payments_are_paid_at_the_provider CHECK (status <> 'paid' OR provider_id IS NOT NULL),
    CONSTRAINT payments_fail_for_a_reason CHECK ((status = 'failed') = (failure IS NOT NULL))
);

-- Of all payments of an order one counts at most: two can't both charge for it.
CREATE UNIQUE INDEX payments_that_count ON payments (order_id) WHERE status <> 'failed';

-- What the provider told by webhook. It tells things more than once; each counts once.
CREATE TABLE payment_events (
    id          text        PRIMARY KEY,
    payment_id  uuid        NOT NULL REFERENCES payments,
    type        text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

-- Payments stay in the books, whatever came of them.
GRANT SELECT, INSERT, UPDATE (status, provider_id, failure, busy_until) ON payments TO app;
GRANT SELECT, INSERT ON payment_events TO app;
