//! Walks over tuples of COPY BINARY, whatever pieces they come in: nothing of a row is kept.

/// What is met on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A field that is NULL.
    Null,
    /// A field of so many bytes begins.
    Field(usize),
    /// Some of its bytes.
    Bytes(&'a [u8]),
    /// It is over.
    FieldEnd,
    /// The row is over.
    RowEnd,
}

/// Where it stands.
#[derive(Debug)]
pub(super) struct Walker {
    columns: u16,
    state: State,
    /// Bytes of a number that came in two pieces.
    head: [u8; 4],
    have: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before a row.
    Between,
    /// Before a field; so many are left.
    Length(u16),
    /// Inside one; fields and bytes that are left.
    Inside(u16, usize),
}

impl Walker {
    /// For rows of so many columns.
    pub(super) fn new(columns: usize) -> Result<Walker, &'static str> {
        let columns = u16::try_from(columns).map_err(|_| "a table has too many columns")?;
        Ok(Walker {
            columns,
            state: State::Between,
            head: [0; 4],
            have: 0,
        })
    }

    /// Walks over a piece.
    pub(super) fn walk<'a>(
        &mut self,
        mut piece: &'a [u8],
        mut on: impl FnMut(Step<'a>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        loop {
            self.state = match self.state {
                State::Between => {
                    let Some([a, b]) = self.number::<2>(&mut piece) else {
                        return Ok(());
                    };
                    if u16::from_be_bytes([a, b]) != self.columns {
                        return Err("a row has another number of columns than its table");
                    }
                    after(self.columns, &mut on)?
                }
                State::Length(left) => {
                    let Some(bytes) = self.number::<4>(&mut piece) else {
                        return Ok(());
                    };
                    match i32::from_be_bytes(bytes) {
                        -1 => {
                            on(Step::Null)?;
                            after(left - 1, &mut on)?
                        }
                        length => {
                            let length = usize::try_from(length)
                                .map_err(|_| "a field has an impossible length")?;
                            on(Step::Field(length))?;
                            State::Inside(left, length)
                        }
                    }
                }
                State::Inside(left, 0) => {
                    on(Step::FieldEnd)?;
                    after(left - 1, &mut on)?
                }
                State::Inside(left, length) => {
                    if piece.is_empty() {
                        return Ok(());
                    }
                    let (now, rest) = piece.split_at(length.min(piece.len()));
                    on(Step::Bytes(now))?;
                    piece = rest;
                    State::Inside(left, length - now.len())
                }
            };
        }
    }

    /// Whether it stands between two rows.
    pub(super) fn is_at_an_end(&self) -> bool {
        matches!(self.state, State::Between) && self.have == 0
    }

    /// The next number, once all its bytes are there.
    fn number<const N: usize>(&mut self, piece: &mut &[u8]) -> Option<[u8; N]> {
        let take = (N - self.have).min(piece.len());
        let (now, rest) = piece.split_at(take);
        self.head[self.have..self.have + take].copy_from_slice(now);
        *piece = rest;
        self.have += take;
        if self.have < N {
            return None;
        }
        self.have = 0;
        self.head.first_chunk::<N>().copied()
    }
}

fn after<'a>(
    left: u16,
    on: &mut impl FnMut(Step<'a>) -> Result<(), &'static str>,
) -> Result<State, &'static str> {
    match left {
        0 => {
            on(Step::RowEnd)?;
            Ok(State::Between)
        }
        _ => Ok(State::Length(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = Vec<Option<Vec<u8>>>;

    fn bytes_of(rows: &[Row]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend(u16::try_from(row.len()).unwrap().to_be_bytes());
            for field in row {
                let length = field
                    .as_ref()
                    .map_or(-1, |f| i32::try_from(f.len()).unwrap());
                bytes.extend(length.to_be_bytes());
                bytes.extend(field.iter().flatten());
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn rows_are_the_same_in_whatever_pieces_they_come(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 3), 0..6),
            size in 1_usize..40,
        ) {
            let bytes = bytes_of(&rows);
            let mut walker = Walker::new(3).unwrap();
            let (mut found, mut row): (Vec<Row>, Row) = Default::default();
            for piece in bytes.chunks(size) {
                walker.walk(piece, |step| {
                    match step {
                        Step::Null => row.push(None),
                        Step::Field(_) => row.push(Some(Vec::new())),
                        Step::Bytes(some) => row.last_mut().unwrap().as_mut().unwrap().extend(some),
                        Step::FieldEnd => {}
                        Step::RowEnd => found.push(std::mem::take(&mut row)),
                    }
                    Ok(())
                }).unwrap();
            }
            prop_assert!(walker.is_at_an_end());
            prop_assert_eq!(found, rows);
        }

        #[test]
        fn any_bytes_are_walked_over_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Walker::new(2).unwrap().walk(&bytes, |_| Ok(()));
        }
    }

    #[test]
    fn a_row_of_no_columns_is_a_row() {
        let mut count = 0;
        let walked = Walker::new(0).unwrap().walk(&[0, 0, 0, 0], |step| {
            count += usize::from(step == Step::RowEnd);
            Ok(())
        });
        assert_eq!((walked, count), (Ok(()), 2));
    }
}
