//! Who takes an order: its row, its items, its payment.

use rusqlite::{CachedStatement, Connection, params};

use super::dice::Dice;
use super::{highest, words};

/// How long ago an order was: an old one has come to an end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Age {
    Old,
    New,
}

/// Takes orders, each with the next number.
pub(super) struct Clerk<'db> {
    order: CachedStatement<'db>,
    item: CachedStatement<'db>,
    payment: CachedStatement<'db>,
    prices: Vec<i64>,
    customers: i64,
    last_order: i64,
    last_payment: i64,
    dice: Dice,
}

impl<'db> Clerk<'db> {
    pub(super) fn new(database: &'db Connection, dice: Dice) -> rusqlite::Result<Self> {
        let last = |table: &str, column: &str| -> rusqlite::Result<i64> {
            let question = format!("SELECT coalesce(max({column}), 0) FROM {table}");
            database.query_row(&question, [], |row| row.get(0))
        };
        let mut prices =
            database.prepare("SELECT price_cents FROM products ORDER BY product_id")?;
        Ok(Clerk {
            order: database.prepare_cached(
                "INSERT INTO orders VALUES (?1, ?2, ?3, ?4, datetime(?5, 'unixepoch'), ?6)",
            )?,
            item: database.prepare_cached("INSERT INTO order_items VALUES (?1, ?2, ?3, ?4, ?5)")?,
            payment: database.prepare_cached(
                "INSERT INTO payments VALUES (?1, ?2, ?3, ?4, ?5, datetime(?6, 'unixepoch'))",
            )?,
            prices: prices
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?,
            customers: highest(database, "customers")?,
            last_order: last("orders", "order_id")?,
            last_payment: last("payments", "payment_id")?,
            dice,
        })
    }

    /// Gives the dice back.
    pub(super) fn go_home(self) -> Dice {
        self.dice
    }

    pub(super) fn take_order(&mut self, time: i64, age: Age) -> rusqlite::Result<()> {
        self.last_order += 1;
        let basket = self.basket();
        let total: i64 = basket
            .iter()
            .map(|(_, quantity, price)| quantity * price)
            .sum();
        let status = self.status(age);
        let customer = 1 + self.dice.small_mostly(self.customers);
        let note = (self.dice.below(5) == 0).then(|| words::text(&mut self.dice, 1));
        self.order.execute(params![
            self.last_order,
            customer,
            status,
            total,
            time,
            note
        ])?;
        for (line, (product, quantity, price)) in (1_i64..).zip(basket) {
            self.item
                .execute(params![self.last_order, line, product, quantity, price])?;
        }
        match status {
            "cancelled" => Ok(()),
            _ => self.pay(total, time),
        }
    }

    /// (product, quantity, price) of one to seven lines.
    fn basket(&mut self) -> Vec<(i64, i64, i64)> {
        let lines = 1 + self.dice.small_mostly(8);
        let products = self.prices.len() as i64;
        let line = |dice: &mut Dice| {
            let place = dice.small_mostly(products);
            (
                place + 1,
                1 + dice.small_mostly(4),
                self.prices[place as usize],
            )
        };
        (0..lines).map(|_| line(&mut self.dice)).collect()
    }

    fn status(&mut self, age: Age) -> &'static str {
        match (age, self.dice.below(100)) {
            (Age::Old, 0..=3) => "cancelled",
            (Age::Old, 4..=9) => "returned",
            (Age::Old, _) => "delivered",
            (Age::New, 0..=1) => "cancelled",
            (Age::New, _) => "paid",
        }
    }

    fn pay(&mut self, amount: i64, time: i64) -> rusqlite::Result<()> {
        self.last_payment += 1;
        let method = self.dice.pick(&["card", "invoice", "transfer", "wallet"]);
        let reference = format!("{:016x}", self.dice.next());
        let paid = time + self.dice.below(7200);
        self.payment.execute(params![
            self.last_payment,
            self.last_order,
            method,
            amount,
            reference,
            paid
        ])?;
        Ok(())
    }
}
