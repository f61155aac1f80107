-- What was paid is lost here; the provider's books have it.
DROP TABLE payment_events, payments;
DROP TYPE payment_status;
