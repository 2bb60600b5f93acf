//! The bulk parser of what a server sends during COPY OUT.
//!
//! It is fed whatever bytes came, in whatever chunks. It walks the messages, takes the ctid off
//! the front of each row, counts the row to its block and passes the rest on: one copy of each
//! byte, nothing allocated per row, and no row held whole (a CopyData message is a row, and its
//! length is known before its bytes are here).

use model::{BlockIndexError, Outcome, RowFormat};

/// COPY BINARY begins with these bytes, a flags word and the length of an extension.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags, extension length.
const HEADER: usize = 19;

/// The most bytes of a message that must be seen together: the header, a field count, the length
/// of the ctid field and the field; or a ctid as text with its end.
const FRONT: usize = HEADER + 2 + 4 + 6;

/// The most bytes that are kept of a message which is no row.
const KEPT: usize = 64 << 10;

/// What the server said in an ErrorResponse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// SQLSTATE.
    pub code: String,
    /// Message, detail and hint in one.
    pub message: String,
}

/// Why a stream cannot be followed any further.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The bytes are not what the protocol allows.
    Protocol(String),
    /// Blocks do not ascend.
    Order(BlockIndexError),
    /// Whoever takes the rows refused them.
    Sink(model::BoxFault),
}

/// Takes rows without their ctid.
pub(crate) trait RowBytes {
    /// A row of that block begins, and has so many bytes.
    fn row(&mut self, block: u32, bytes: u64) -> Result<(), BlockIndexError>;
    /// The next bytes of it.
    fn take(&mut self, bytes: &[u8]) -> Outcome<()>;
}

/// What became of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All of it is taken, and more must come.
    More,
    /// The server is ready for the next query; that many bytes of the chunk are taken.
    Ready(usize),
}

/// How a statement ended.
#[derive(Debug)]
pub(crate) struct CopyEnd {
    /// The server's error, if it gave one: then nothing of the rows counts.
    pub error: Option<ServerError>,
    /// `I` outside of a transaction, `T` inside, `E` inside a failed one.
    pub transaction: u8,
}

enum State {
    /// Type and length of a message; so many of them are there.
    Head { have: [u8; 5], len: usize },
    /// The front of a CopyData message of `body` bytes.
    Front {
        have: [u8; FRONT],
        len: usize,
        body: usize,
    },
    /// So many bytes of a row are still to come.
    Row { left: usize },
    /// A message that is no row.
    Other { kind: u8, left: usize },
}

/// The state of one statement that may answer with COPY OUT.
pub(crate) struct CopyFrames {
    format: RowFormat,
    /// The fields of a row with its ctid.
    fields: u16,
    state: State,
    /// The bytes of a message that is no row.
    text: Vec<u8>,
    rows: u64,
    begun: bool,
    first_row: bool,
    trailer: bool,
    done: bool,
    counted: Option<u64>,
    error: Option<ServerError>,
}

/// What stands at the front of a CopyData message.
struct Front {
    /// Bytes of it that are not passed on.
    used: usize,
    /// Bytes that are passed on in their place.
    instead: [u8; 2],
    instead_len: usize,
}

const HEAD: State = State::Head {
    have: [0; 5],
    len: 0,
};

impl CopyFrames {
    /// For a COPY of `columns` columns beside the ctid.
    pub(crate) fn new(format: RowFormat, columns: usize) -> Self {
        CopyFrames {
            format,
            fields: u16::try_from(columns + 1).unwrap_or(u16::MAX),
            state: HEAD,
            text: Vec::new(),
            rows: 0,
            begun: false,
            first_row: true,
            trailer: false,
            done: false,
            counted: None,
            error: None,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn feed<R: RowBytes>(
        &mut self,
        chunk: &[u8],
        rows: &mut R,
    ) -> Result<Fed, FrameError> {
        let mut at = 0;
        while at < chunk.len() {
            let rest = &chunk[at..];
            match &mut self.state {
                State::Head { have, len } => {
                    let n = rest.len().min(have.len() - *len);
                    have[*len..*len + n].copy_from_slice(&rest[..n]);
                    *len += n;
                    at += n;
                    if *len == have.len() {
                        let head = *have;
                        at += self.begin_message(head, &chunk[at..], rows)?;
                    }
                }
                State::Front { have, len, body } => {
                    let needed = FRONT.min(*body);
                    let n = rest.len().min(needed - *len);
                    have[*len..*len + n].copy_from_slice(&rest[..n]);
                    *len += n;
                    at += n;
                    if *len == needed {
                        let (have, body) = (*have, *body);
                        self.front(&have[..needed], body, rows)?;
                    }
                }
                State::Row { left } => {
                    let n = rest.len().min(*left);
                    rows.take(&rest[..n]).map_err(FrameError::Sink)?;
                    *left -= n;
                    at += n;
                    if *left == 0 {
                        self.state = HEAD;
                    }
                }
                State::Other { kind, left } => {
                    let n = rest.len().min(*left);
                    let kept = n.min(KEPT.saturating_sub(self.text.len()));
                    self.text.extend_from_slice(&rest[..kept]);
                    *left -= n;
                    at += n;
                    if *left == 0 {
                        let kind = *kind;
                        self.state = HEAD;
                        if self.message(kind)? {
                            return Ok(Fed::Ready(at));
                        }
                    }
                }
            }
        }
        Ok(Fed::More)
    }

    /// A message's type and length are known; takes what is there of a row at once, mostly all of
    /// it. Answers the bytes of `rest` that it took.
    fn begin_message<R: RowBytes>(
        &mut self,
        head: [u8; 5],
        rest: &[u8],
        rows: &mut R,
    ) -> Result<usize, FrameError> {
        let kind = head[0];
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let body = usize::try_from(length)
            .ok()
            .and_then(|n| n.checked_sub(4))
            .ok_or_else(|| FrameError::Protocol(format!("a message of length {length}")))?;
        if kind != b'd' {
            self.text.clear();
            self.state = State::Other { kind, left: body };
            if body == 0 {
                self.state = HEAD;
                self.message(kind)?;
            }
            return Ok(0);
        }
        if !self.begun || self.done {
            return Err(FrameError::Protocol("rows outside of a COPY".into()));
        }
        let needed = FRONT.min(body);
        if rest.len() >= needed {
            let there = body.min(rest.len());
            self.front(&rest[..there], body, rows)?;
            return Ok(there);
        }
        self.state = State::Front {
            have: [0; FRONT],
            len: 0,
            body,
        };
        Ok(0)
    }

    /// The front of a CopyData message is complete; `have` may hold more of the message.
    fn front<R: RowBytes>(
        &mut self,
        have: &[u8],
        body: usize,
        rows: &mut R,
    ) -> Result<(), FrameError> {
        if self.trailer {
            return Err(FrameError::Protocol("rows behind the end of a COPY".into()));
        }
        let front = match self.format {
            RowFormat::Binary => self.binary_front(have, body, rows)?,
            _ => Some(self.text_front(have, body, rows)?),
        };
        let Some(front) = front else {
            self.state = HEAD;
            return Ok(());
        };
        rows.take(&front.instead[..front.instead_len])
            .and_then(|()| rows.take(&have[front.used..]))
            .map_err(FrameError::Sink)?;
        let left = body - have.len();
        self.state = if left == 0 { HEAD } else { State::Row { left } };
        Ok(())
    }

    /// `None`: a header or a trailer, no row.
    fn binary_front<R: RowBytes>(
        &mut self,
        have: &[u8],
        body: usize,
        rows: &mut R,
    ) -> Result<Option<Front>, FrameError> {
        let mut used = 0;
        if self.first_row {
            self.first_row = false;
            if have.len() < HEADER || &have[..11] != SIGNATURE || have[11..HEADER] != [0; 8] {
                return Err(FrameError::Protocol("no header of COPY BINARY".into()));
            }
            used = HEADER;
        }
        let row = &have[used..];
        match body - used {
            0 => return Ok(None),
            2 if row == [0xff, 0xff] => {
                self.trailer = true;
                return Ok(None);
            }
            _ => {}
        }
        let [f0, f1, 0, 0, 0, 6, b0, b1, b2, b3, _, _, ..] = *row else {
            return Err(FrameError::Protocol(
                "a row that does not begin with a ctid".into(),
            ));
        };
        if u16::from_be_bytes([f0, f1]) != self.fields {
            return Err(FrameError::Protocol(format!(
                "a row of {} fields instead of {}",
                u16::from_be_bytes([f0, f1]),
                self.fields
            )));
        }
        self.count(
            rows,
            u32::from_be_bytes([b0, b1, b2, b3]),
            body - used - 12 + 2,
        )?;
        Ok(Some(Front {
            used: used + 12,
            instead: (self.fields - 1).to_be_bytes(),
            instead_len: 2,
        }))
    }

    fn text_front<R: RowBytes>(
        &mut self,
        have: &[u8],
        body: usize,
        rows: &mut R,
    ) -> Result<Front, FrameError> {
        let wrong = || FrameError::Protocol("a line that does not begin with a ctid".into());
        let end = have[..FRONT.min(have.len())]
            .iter()
            .position(|b| matches!(b, b'\t' | b'\n'))
            .ok_or_else(wrong)?;
        let block = have[..end]
            .strip_prefix(b"(")
            .and_then(|text| text.split(|b| *b == b',').next())
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(wrong)?;
        // A table without columns: the end of the line stays.
        let used = if have[end] == b'\n' { end } else { end + 1 };
        self.count(rows, block, body - used)?;
        Ok(Front {
            used,
            instead: [0; 2],
            instead_len: 0,
        })
    }

    fn count<R: RowBytes>(
        &mut self,
        rows: &mut R,
        block: u32,
        bytes: usize,
    ) -> Result<(), FrameError> {
        self.rows += 1;
        rows.row(block, bytes as u64).map_err(FrameError::Order)
    }

    /// A message that is no row is complete; answers whether the server is ready.
    fn message(&mut self, kind: u8) -> Result<bool, FrameError> {
        match kind {
            b'H' => self.begin_copy()?,
            b'c' => self.done = true,
            b'C' => self.counted = rows_of_tag(&self.text).or(self.counted),
            // The first error is the reason; what follows is its consequence.
            b'E' => {
                let error = server_error(&self.text);
                self.error.get_or_insert(error);
            }
            b'Z' => return Ok(true),
            // Notice, parameter status, notification: they may come at any time.
            b'N' | b'S' | b'A' => {}
            other => {
                return Err(FrameError::Protocol(format!(
                    "a message of type {:?}",
                    char::from(other)
                )));
            }
        }
        Ok(false)
    }

    fn begin_copy(&mut self) -> Result<(), FrameError> {
        let binary = matches!(self.format, RowFormat::Binary);
        let wanted = [
            u8::from(binary),
            self.fields.to_be_bytes()[0],
            self.fields.to_be_bytes()[1],
        ];
        if self.begun || self.text.get(..3) != Some(&wanted[..]) {
            return Err(FrameError::Protocol(
                "a COPY of another form than asked for".into(),
            ));
        }
        self.begun = true;
        Ok(())
    }

    /// The server's error so far: it may close the connection before it says that it is ready.
    pub(crate) fn error(&self) -> Option<&ServerError> {
        self.error.as_ref()
    }

    /// What the statement came to, after [`Fed::Ready`].
    pub(crate) fn end(self) -> Result<CopyEnd, FrameError> {
        let transaction = self.text.first().copied().unwrap_or(b'E');
        let rows = self.rows;
        let whole = self.done
            && self.counted == Some(rows)
            && (self.trailer || !matches!(self.format, RowFormat::Binary));
        if self.begun && self.error.is_none() && !whole {
            return Err(FrameError::Protocol(format!(
                "a COPY that ends in disorder: {rows} rows came, {:?} were announced",
                self.counted
            )));
        }
        Ok(CopyEnd {
            error: self.error,
            transaction,
        })
    }
}

/// `COPY 17\0` → 17.
fn rows_of_tag(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"COPY ")?.strip_suffix(b"\0")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// An ErrorResponse is a list of (letter, text, NUL), ended by a NUL.
fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|b| *b == 0) {
        let Some((letter, text)) = field.split_first() else {
            break;
        };
        // In the encoding of the stream, which need not be UTF-8.
        let text = String::from_utf8_lossy(text);
        match letter {
            b'C' => error.code = text.into_owned(),
            b'M' => error.message = text.into_owned(),
            b'D' | b'H' => {
                error.message.push_str("; ");
                error.message.push_str(&text);
            }
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests;
