//! A sample shop: a SQLite database as an application would keep it, and a day that changes it.
//!
//! The same program always makes the same shop, row for row. [`make`] writes about 50 MB; no file
//! is ever overwritten.

mod clerk;
mod dice;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use clerk::Clerk;
use dice::Dice;

/// Customers of the demo's shop; everything else follows from their number.
const CUSTOMERS: u32 = 30_000;

const SEED: u64 = 0x5ea_c0a57;

/// 2024-01-01, and the two years in which the shop has been open.
const OPENED: i64 = 1_704_067_200;
const OPEN_SECONDS: i64 = 2 * 365 * 86_400;

const TABLES: &str = include_str!("shop/tables.sql");
const INDEXES: &str = include_str!("shop/indexes.sql");

/// Why there is no shop.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// A file is there already.
    #[error("{} is there already: the sample shop overwrites nothing; remove it or choose another place", .0.display())]
    AlreadyThere(PathBuf),
    /// SQLite failed.
    #[error("cannot {doing} the sample shop {}: {source}", path.display())]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// What a new shop holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The size of its file.
    pub bytes: u64,
    /// Rows of the table `customers`.
    pub customers: u64,
    /// Rows of the table `products`.
    pub products: u64,
    /// Rows of the table `orders`.
    pub orders: u64,
    /// Rows of the table `order_items`.
    pub order_items: u64,
    /// Rows of the table `payments`.
    pub payments: u64,
    /// Rows of the table `reviews`.
    pub reviews: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MB, {} customers, {} products, {} orders with {} items, {} payments, {} reviews",
            self.bytes / 1_000_000,
            grouped(self.customers),
            grouped(self.products),
            grouped(self.orders),
            grouped(self.order_items),
            grouped(self.payments),
            grouped(self.reviews),
        )
    }
}

/// What a day has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Orders that came in.
    pub new_orders: u64,
    /// Customers who came.
    pub new_customers: u64,
    /// Products with another price.
    pub new_prices: u64,
    /// Orders that left the house.
    pub shipped: u64,
    /// Cancelled orders that were deleted.
    pub deleted_orders: u64,
    /// Reviews that were deleted.
    pub deleted_reviews: u64,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} new orders, {} new customers, {} new prices, {} orders shipped, {} cancelled orders and {} reviews deleted",
            grouped(self.new_orders),
            grouped(self.new_customers),
            grouped(self.new_prices),
            grouped(self.shipped),
            grouped(self.deleted_orders),
            grouped(self.deleted_reviews),
        )
    }
}

/// Makes the shop, in WAL mode.
///
/// # Errors
/// When a file is there already, or SQLite cannot write; what was begun is then left for a look.
pub fn make(path: &Path) -> Result<Summary, ShopError> {
    make_sized(path, CUSTOMERS)
}

/// Lets a day pass: orders, customers and prices come, orders are shipped, old things deleted.
/// Each day is another one.
///
/// # Errors
/// When it is no sample shop, or somebody locks it; nothing is changed then.
pub fn change(path: &Path) -> Result<Changes, ShopError> {
    let day = || -> rusqlite::Result<Changes> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let mut database = Connection::open_with_flags(path, flags)?;
        let day = database.transaction()?;
        let changes = pass_a_day(&day)?;
        day.commit()?;
        Ok(changes)
    };
    day().map_err(|source| failed("change", path, source))
}

fn make_sized(path: &Path, customers: u32) -> Result<Summary, ShopError> {
    if path.symlink_metadata().is_ok() {
        return Err(ShopError::AlreadyThere(path.to_owned()));
    }
    let open = || -> rusqlite::Result<Summary> {
        let mut database = Connection::open(path)?;
        // Nobody needs a half-made shop, so that nothing is gained by a journal until it is open.
        database.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;",
        )?;
        let stock = database.transaction()?;
        stock.execute_batch(TABLES)?;
        furnish(&stock, customers)?;
        stock.execute_batch(INDEXES)?;
        stock.commit()?;
        database.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL; ANALYZE;")?;
        let summary = summary(&database)?;
        database.close().map_err(|(_, error)| error)?;
        Ok(summary)
    };
    open().map_err(|source| failed("make", path, source))
}

fn furnish(database: &Connection, customers: u32) -> rusqlite::Result<()> {
    let mut dice = Dice::new(SEED);
    let orders = i64::from(customers) * 5;
    add_customers(database, &mut dice, 1, i64::from(customers), OPENED)?;
    add_products(database, &mut dice, i64::from(customers / 10).max(1))?;
    let mut clerk = Clerk::new(database, dice)?;
    for number in 0..orders {
        let time = OPENED + OPEN_SECONDS * number / orders;
        let is_old = number < orders - orders / 50;
        clerk.take_order(
            time,
            if is_old {
                clerk::Age::Old
            } else {
                clerk::Age::New
            },
        )?;
    }
    let mut dice = clerk.go_home();
    add_reviews(database, &mut dice, i64::from(customers) * 2)
}

fn add_customers(
    database: &Connection,
    dice: &mut Dice,
    first: i64,
    count: i64,
    since: i64,
) -> rusqlite::Result<()> {
    let mut insert = database.prepare(
        "INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, datetime(?8, 'unixepoch'))",
    )?;
    for id in first..first + count {
        let name = words::person(dice);
        let mail = format!("{}.{id}@example.org", name.to_lowercase().replace(' ', "."));
        let street = words::street(dice);
        let (postcode, city, country) = words::place(dice);
        let joined = since + dice.below(86_400 * 30);
        insert.execute(params![
            id, name, mail, street, postcode, city, country, joined
        ])?;
    }
    Ok(())
}

fn add_products(database: &Connection, dice: &mut Dice, count: i64) -> rusqlite::Result<()> {
    let mut insert =
        database.prepare("INSERT INTO products VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for id in 1..=count {
        let (name, category) = words::product(dice);
        let description = words::text(dice, 6);
        let price = 195 + 50 * dice.below(400) + 1000 * dice.small_mostly(90);
        insert.execute(params![
            id,
            format!("{}-{id:05}", category[..3].to_uppercase()),
            name,
            category,
            description,
            price,
            500 + dice.below(5000),
        ])?;
    }
    Ok(())
}

fn add_reviews(database: &Connection, dice: &mut Dice, count: i64) -> rusqlite::Result<()> {
    let (customers, products) = (
        highest(database, "customers")?,
        highest(database, "products")?,
    );
    let mut insert = database.prepare(
        "INSERT INTO reviews VALUES (?1, ?2, ?3, ?4, ?5, ?6, datetime(?7, 'unixepoch'))",
    )?;
    for id in 1..=count {
        let rating = 5 - dice.small_mostly(7).min(4);
        let length = 1 + dice.below(4) as usize;
        insert.execute(params![
            id,
            1 + dice.small_mostly(products),
            1 + dice.below(customers),
            rating,
            words::verdict(dice, rating),
            words::text(dice, length),
            OPENED + OPEN_SECONDS * id / count,
        ])?;
    }
    Ok(())
}

fn pass_a_day(database: &Connection) -> rusqlite::Result<Changes> {
    let (orders, customers) = (
        highest(database, "orders")?,
        highest(database, "customers")?,
    );
    // The last order tells one day from another.
    let mut dice = Dice::new(SEED ^ orders.unsigned_abs());
    let today = OPENED + OPEN_SECONDS + orders;
    let shelf = dice.below(20);
    let new_prices = database.execute(
        "UPDATE products SET price_cents = price_cents * ?1 / 100 WHERE product_id % 20 = ?2",
        [95 + dice.below(15), shelf],
    )?;
    let shipped = database.execute(
        "UPDATE orders SET status = 'shipped' WHERE status = 'paid'",
        [],
    )?;
    let (deleted_orders, deleted_reviews) = tidy_up(database, orders / 1000 + 1)?;
    let new_customers = customers / 400 + 1;
    add_customers(database, &mut dice, customers + 1, new_customers, today)?;
    let mut clerk = Clerk::new(database, dice)?;
    let new_orders = orders / 70 + 1;
    for number in 0..new_orders {
        clerk.take_order(today + 86_400 * number / new_orders, clerk::Age::New)?;
    }
    Ok(Changes {
        new_orders: new_orders.unsigned_abs(),
        new_customers: new_customers.unsigned_abs(),
        new_prices: new_prices as u64,
        shipped: shipped as u64,
        deleted_orders,
        deleted_reviews,
    })
}

/// Deletes the oldest cancelled orders with all that hangs on them, and the worst reviews.
fn tidy_up(database: &Connection, limit: i64) -> rusqlite::Result<(u64, u64)> {
    let oldest =
        "(SELECT order_id FROM orders WHERE status = 'cancelled' ORDER BY order_id LIMIT ?1)";
    let delete = |table: &str| {
        database.execute(
            &format!("DELETE FROM {table} WHERE order_id IN {oldest}"),
            [limit],
        )
    };
    delete("order_items")?;
    delete("payments")?;
    let orders = delete("orders")?;
    let reviews = database.execute(
        "DELETE FROM reviews WHERE review_id IN
             (SELECT review_id FROM reviews WHERE rating = 1 ORDER BY review_id LIMIT ?1)",
        [limit],
    )?;
    Ok((orders as u64, reviews as u64))
}

/// The highest id of a table; ids have no gaps but those of deletes.
fn highest(database: &Connection, table: &str) -> rusqlite::Result<i64> {
    database.query_row(&format!("SELECT max(rowid) FROM {table}"), [], |row| {
        row.get(0)
    })
}

fn summary(database: &Connection) -> rusqlite::Result<Summary> {
    let ask = |question: &str| -> rusqlite::Result<u64> {
        let number: i64 = database.query_row(question, [], |row| row.get(0))?;
        Ok(number.unsigned_abs())
    };
    let count = |table: &str| ask(&format!("SELECT count(*) FROM {table}"));
    Ok(Summary {
        bytes: ask("PRAGMA page_count")? * ask("PRAGMA page_size")?,
        customers: count("customers")?,
        products: count("products")?,
        orders: count("orders")?,
        order_items: count("order_items")?,
        payments: count("payments")?,
        reviews: count("reviews")?,
    })
}

fn failed(doing: &'static str, path: &Path, source: rusqlite::Error) -> ShopError {
    ShopError::Sqlite {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
