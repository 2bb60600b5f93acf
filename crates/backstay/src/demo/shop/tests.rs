//! A small shop has the same rules as a large one.

use super::*;

const SMALL: u32 = 300;

fn small() -> (tempfile::TempDir, PathBuf, Summary) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    let summary = make_sized(&path, SMALL).unwrap();
    (directory, path, summary)
}

fn ask(path: &Path, question: &str) -> i64 {
    let database = Connection::open(path).unwrap();
    database.query_row(question, [], |row| row.get(0)).unwrap()
}

/// What holds in every shop, on every day.
fn assert_in_order(path: &Path) {
    let database = Connection::open(path).unwrap();
    let check: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let mut orphans = database.prepare("PRAGMA foreign_key_check").unwrap();
    assert!(
        !orphans.exists([]).unwrap(),
        "no row refers to one that is not there"
    );
    let wrong_totals = "SELECT count(*) FROM orders AS o WHERE total_cents <>
        (SELECT sum(quantity * price_cents) FROM order_items AS i WHERE i.order_id = o.order_id)";
    assert_eq!(ask(path, wrong_totals), 0);
    let wrong_payments = "SELECT count(*) FROM orders LEFT JOIN payments USING (order_id)
        WHERE (status = 'cancelled') <> (payment_id IS NULL) OR amount_cents <> total_cents";
    assert_eq!(ask(path, wrong_payments), 0);
}

#[test]
fn a_shop_is_in_order_and_its_summary_is_true() {
    let (_directory, path, summary) = small();
    assert_in_order(&path);
    assert_eq!(summary.customers, u64::from(SMALL));
    assert_eq!(summary.bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(
        ask(&path, "SELECT count(*) FROM order_items") as u64,
        summary.order_items
    );
    assert!(summary.payments > 0 && summary.payments < summary.orders);
    assert!(summary.to_string().contains("300 customers"), "{summary}");
}

#[test]
fn the_same_shop_is_made_each_time() {
    let (_one, first, _) = small();
    let (_other, second, _) = small();
    assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap());
}

#[test]
fn it_is_in_wal_mode_and_leaves_no_other_file() {
    let (directory, path, _) = small();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let mode: String = Connection::open(path)
        .unwrap()
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn each_day_changes_the_shop_as_it_says_and_leaves_it_in_order() {
    let (_directory, path, _) = small();
    let figures = || {
        ["orders", "customers", "reviews"]
            .map(|table| ask(&path, &format!("SELECT count(*) FROM {table}")))
    };
    let mut days = Vec::new();
    for _ in 0..3 {
        let [orders, customers, reviews] = figures();
        let paid = ask(&path, "SELECT count(*) FROM orders WHERE status = 'paid'");
        let stock = ask(&path, "SELECT sum(stock) FROM products");
        let day = change(&path).unwrap();
        assert_in_order(&path);
        let balance = |new: u64, deleted: u64| new.cast_signed() - deleted.cast_signed();
        assert_eq!(
            figures(),
            [
                orders + balance(day.new_orders, day.deleted_orders),
                customers + balance(day.new_customers, 0),
                reviews - day.deleted_reviews.cast_signed(),
            ]
        );
        assert_eq!(day.shipped.cast_signed(), paid);
        assert!(day.new_orders > 0 && day.new_prices > 0 && day.deleted_orders > 0);
        assert!(day.deleted_reviews > 0);
        assert!(
            ask(&path, "SELECT sum(stock) FROM products") < stock,
            "what is sold leaves"
        );
        days.push(day.to_string());
    }
    assert!(days[0].contains("new orders"), "{}", days[0]);
}

#[test]
fn nothing_is_overwritten_and_nothing_but_a_shop_is_changed() {
    let (directory, path, _) = small();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(
        make_sized(&path, SMALL),
        Err(ShopError::AlreadyThere(_))
    ));
    assert!(std::fs::read(&path).unwrap() == before);
    let absent = directory.path().join("absent.db");
    let refused = change(&absent).unwrap_err();
    assert!(refused.to_string().contains("absent.db"), "{refused}");
    assert!(!absent.exists());
}

#[test]
fn the_shop_of_the_demo_is_about_50_mb() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    let summary = make(&path).unwrap();
    assert!(
        (45_000_000..60_000_000).contains(&summary.bytes),
        "{summary}"
    );
    assert!(change(&path).unwrap().new_orders > 1000);
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!(
        [0, 999, 1000, 1_234_567].map(grouped),
        ["0", "999", "1,000", "1,234,567"]
    );
}
