//! Pages of large objects: tuples of COPY BINARY in, `lo_put` out.
//!
//! The bytes of a large object cannot be loaded by COPY: only superusers may write
//! `pg_largeobject`. A page is at most a quarter of a block, so that a batch is bounded.

use crate::error::PostgresError;
use crate::session::Session;

use super::fault::RestoreError;

/// How many pages one statement writes.
const BATCH: usize = 256;

/// What a page may be at most: a quarter of the largest block, and some.
const LARGEST_PAGE: usize = 16 << 10;

/// Fields of a tuple: loid, pageno, data.
const FIELDS: i16 = 3;

const WRITE: &str = "SELECT pg_catalog.count(*) FROM (
    SELECT pg_catalog.lo_put(o, p::pg_catalog.int8 * $4, d)
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int4[]),
                    pg_catalog.unnest($3::pg_catalog.bytea[])) AS page (o, p, d)
    OFFSET 0) AS written";

/// One row of `pg_largeobject`.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    object: u32,
    number: i32,
    data: Vec<u8>,
}

/// Writes pages as their rows come in.
pub(super) struct Pages<'a> {
    session: &'a Session,
    page_bytes: i64,
    /// Bytes that do not make a whole row yet.
    rest: Vec<u8>,
    objects: Vec<u32>,
    numbers: Vec<i32>,
    data: Vec<Vec<u8>>,
    written: u64,
}

impl<'a> Pages<'a> {
    /// `page_bytes`: of the source; a page's number times this is where it begins.
    pub(super) fn new(session: &'a Session, page_bytes: u32) -> Self {
        Pages {
            session,
            page_bytes: i64::from(page_bytes),
            rest: Vec::new(),
            objects: Vec::with_capacity(BATCH),
            numbers: Vec::with_capacity(BATCH),
            data: Vec::with_capacity(BATCH),
            written: 0,
        }
    }

    /// Takes a piece; rows may span pieces.
    pub(super) async fn add(&mut self, piece: &[u8]) -> Result<(), RestoreError> {
        self.rest.extend_from_slice(piece);
        let mut taken = 0;
        while let Some((page, length)) = first_page(&self.rest[taken..])? {
            taken += length;
            self.objects.push(page.object);
            self.numbers.push(page.number);
            self.data.push(page.data);
            if self.data.len() == BATCH {
                self.write().await?;
            }
        }
        self.rest.drain(..taken);
        Ok(())
    }

    /// Writes what is left; answers how many pages there were.
    pub(super) async fn finish(mut self) -> Result<u64, RestoreError> {
        if !self.rest.is_empty() {
            return Err(cut_short());
        }
        self.write().await?;
        Ok(self.written)
    }

    async fn write(&mut self) -> Result<(), RestoreError> {
        if self.data.is_empty() {
            return Ok(());
        }
        let row = self
            .session
            .row(
                WRITE,
                &[&self.objects, &self.numbers, &self.data, &self.page_bytes],
                "writing large objects",
            )
            .await?;
        let written: i64 = row.get(0);
        if usize::try_from(written) != Ok(self.data.len()) {
            return Err(RestoreError::Postgres(PostgresError::Protocol {
                doing: "writing large objects".into(),
                what: format!("{written} pages of {} were written", self.data.len()),
            }));
        }
        self.written += written.unsigned_abs();
        self.objects.clear();
        self.numbers.clear();
        self.data.clear();
        Ok(())
    }
}

/// The first row and its length; `None`: it is not whole yet.
fn first_page(bytes: &[u8]) -> Result<Option<(Page, usize)>, RestoreError> {
    let Some(head) = bytes.first_chunk::<22>() else {
        return match bytes.first_chunk::<2>() {
            Some(count) if i16::from_be_bytes(*count) != FIELDS => Err(not_three()),
            _ => Ok(None),
        };
    };
    let [
        c0,
        c1,
        l0,
        l1,
        l2,
        l3,
        o0,
        o1,
        o2,
        o3,
        m0,
        m1,
        m2,
        m3,
        n0,
        n1,
        n2,
        n3,
        d0,
        d1,
        d2,
        d3,
    ] = *head;
    if i16::from_be_bytes([c0, c1]) != FIELDS {
        return Err(not_three());
    }
    let four = 4_i32.to_be_bytes();
    if [l0, l1, l2, l3] != four || [m0, m1, m2, m3] != four {
        return Err(RestoreError::Pages {
            what: "a number does not have four bytes",
        });
    }
    let length = usize::try_from(i32::from_be_bytes([d0, d1, d2, d3]))
        .ok()
        .filter(|length| *length <= LARGEST_PAGE)
        .ok_or(RestoreError::Pages {
            what: "a page has an impossible length",
        })?;
    let end = head.len() + length;
    let Some(data) = bytes.get(head.len()..end) else {
        return Ok(None);
    };
    let page = Page {
        object: u32::from_be_bytes([o0, o1, o2, o3]),
        number: i32::from_be_bytes([n0, n1, n2, n3]),
        data: data.to_vec(),
    };
    Ok(Some((page, end)))
}

fn not_three() -> RestoreError {
    RestoreError::Pages {
        what: "a row does not have three columns",
    }
}

fn cut_short() -> RestoreError {
    RestoreError::Pages {
        what: "the last row is cut short",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(object: u32, number: i32, data: &[u8]) -> Vec<u8> {
        let mut row = Vec::new();
        row.extend(3_i16.to_be_bytes());
        row.extend(4_i32.to_be_bytes());
        row.extend(object.to_be_bytes());
        row.extend(4_i32.to_be_bytes());
        row.extend(number.to_be_bytes());
        row.extend(i32::try_from(data.len()).unwrap().to_be_bytes());
        row.extend(data);
        row
    }

    proptest! {
        #[test]
        fn any_row_is_read_once_it_is_whole(object: u32, number: i32, data in prop::collection::vec(any::<u8>(), 0..2048)) {
            let bytes = row(object, number, &data);
            for end in 0..bytes.len() {
                prop_assert!(first_page(&bytes[..end]).unwrap().is_none());
            }
            let (page, length) = first_page(&bytes).unwrap().unwrap();
            prop_assert_eq!(page, Page { object, number, data });
            prop_assert_eq!(length, bytes.len());
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = first_page(&bytes);
        }
    }

    #[test]
    fn what_is_no_row_of_three_is_refused() {
        assert!(first_page(&[0, 2]).is_err());
        let mut bytes = row(1, 1, b"x");
        bytes[5] = 9;
        assert!(first_page(&bytes).is_err());
    }
}
