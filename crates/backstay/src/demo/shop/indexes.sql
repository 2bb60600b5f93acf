CREATE UNIQUE INDEX customers_mail ON customers (mail);
CREATE INDEX products_category ON products (category, price_cents);
CREATE INDEX orders_customer ON orders (customer_id, ordered_at);
CREATE INDEX orders_open ON orders (status) WHERE status IN ('paid', 'shipped');
CREATE INDEX order_items_product ON order_items (product_id);
CREATE INDEX payments_order ON payments (order_id);
CREATE INDEX reviews_product ON reviews (product_id, rating);

CREATE VIEW revenue_by_month AS
    SELECT substr(ordered_at, 1, 7) AS month, count(*) AS orders, sum(total_cents) AS cents
    FROM orders WHERE status NOT IN ('returned', 'cancelled')
    GROUP BY month;

CREATE TRIGGER item_leaves_stock AFTER INSERT ON order_items BEGIN
    UPDATE products SET stock = stock - new.quantity WHERE product_id = new.product_id;
END;
