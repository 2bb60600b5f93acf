use super::*;
use proptest::prelude::*;

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// The block of each row, and its bytes.
    rows: Vec<(u32, u64)>,
}

impl RowBytes for Kept {
    fn row(&mut self, block: u32, bytes: u64) -> Result<(), BlockIndexError> {
        match self.rows.last() {
            Some((before, _)) if *before > block => Err(BlockIndexError::Order {
                before: *before,
                after: block,
            }),
            _ => {
                self.rows.push((block, bytes));
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

fn message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend_from_slice(body);
}

/// A row: its block, and its one field.
type Row = (u32, Vec<u8>);

/// What a server sends for these rows of one column, and what must come out.
fn binary_stream(rows: &[Row]) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    message(&mut sent, b'H', &[1, 0, 2, 0, 1, 0, 1]);
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[0; 8]);
    for (block, field) in rows {
        let mut body = std::mem::take(&mut header);
        body.extend_from_slice(&[0, 2, 0, 0, 0, 6]);
        body.extend_from_slice(&block.to_be_bytes());
        body.extend_from_slice(&[0, 1]);
        let mut rest = u32::try_from(field.len()).unwrap().to_be_bytes().to_vec();
        rest.extend_from_slice(field);
        body.extend_from_slice(&rest);
        message(&mut sent, b'd', &body);
        expected.extend_from_slice(&[0, 1]);
        expected.extend_from_slice(&rest);
    }
    header.extend_from_slice(&[0xff, 0xff]);
    message(&mut sent, b'd', &header);
    finish(&mut sent, rows.len());
    (sent, expected)
}

fn text_stream(rows: &[Row]) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    message(&mut sent, b'H', &[0, 0, 2, 0, 0, 0, 0]);
    for (block, field) in rows {
        let mut line: Vec<u8> = field.iter().map(|b| b'a' + b % 26).collect();
        line.push(b'\n');
        let mut body = format!("({block},7)\t").into_bytes();
        body.extend_from_slice(&line);
        message(&mut sent, b'd', &body);
        expected.extend_from_slice(&line);
    }
    finish(&mut sent, rows.len());
    (sent, expected)
}

fn finish(sent: &mut Vec<u8>, rows: usize) {
    message(sent, b'c', &[]);
    message(sent, b'N', b"SNOTICE\0MHello\0\0");
    message(sent, b'C', format!("COPY {rows}\0").as_bytes());
    message(sent, b'Z', b"T");
}

fn lengths(rows: &[Row], front: u64) -> Vec<(u32, u64)> {
    let length = |(block, field): &Row| (*block, field.len() as u64 + front);
    rows.iter().map(length).collect()
}

/// Feeds a stream in chunks of these lengths, over and over.
fn feed(format: RowFormat, sent: &[u8], chunks: &[usize]) -> Result<(Kept, CopyEnd), FrameError> {
    let mut frames = CopyFrames::new(format, 1);
    let mut kept = Kept::default();
    let mut lengths = chunks.iter().cycle();
    let mut at = 0;
    while at < sent.len() {
        let n = (*lengths.next().unwrap()).clamp(1, sent.len() - at);
        match frames.feed(&sent[at..at + n], &mut kept)? {
            Fed::More => at += n,
            Fed::Ready(taken) => {
                assert_eq!(at + taken, sent.len(), "ready before the end");
                return Ok((kept, frames.end()?));
            }
        }
    }
    Err(FrameError::Protocol("no end".into()))
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0u32..5, prop::collection::vec(any::<u8>(), 0..60)), 0..20).prop_map(
        |steps| {
            let mut block = 0;
            let next = |(step, field)| {
                block += step;
                (block, field)
            };
            steps.into_iter().map(next).collect()
        },
    )
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_same_rows_come_out(
        rows in any_rows(),
        chunks in prop::collection::vec(1usize..80, 1..6),
    ) {
        let (sent, expected) = binary_stream(&rows);
        let (kept, end) = feed(RowFormat::Binary, &sent, &chunks).unwrap();
        prop_assert_eq!(kept.bytes, expected);
        prop_assert_eq!(kept.rows, lengths(&rows, 2 + 4));
        prop_assert_eq!(end.transaction, b'T');

        let (sent, expected) = text_stream(&rows);
        let (kept, _) = feed(RowFormat::Text, &sent, &chunks).unwrap();
        prop_assert_eq!(kept.bytes, expected);
        prop_assert_eq!(kept.rows, lengths(&rows, 1));
    }

    #[test]
    fn a_stream_that_lost_bytes_is_never_taken_for_whole(
        rows in any_rows(),
        place in any::<prop::sample::Index>(),
    ) {
        let (mut sent, _) = binary_stream(&rows);
        sent.remove(place.index(sent.len()));
        let fed = feed(RowFormat::Binary, &sent, &[7]);
        // What is left may be a whole stream only if the byte was one of many equal ones of a
        // message without meaning for the rows.
        if let Ok((kept, _)) = fed {
            prop_assert_eq!(kept.rows.len(), rows.len());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_waited_for_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [RowFormat::Binary, RowFormat::Text] {
            let mut frames = CopyFrames::new(format, 1);
            let _ = frames.feed(&bytes, &mut Kept::default());
        }
    }
}

#[test]
fn a_table_without_columns_and_null_fields_keep_their_form() {
    let mut sent = Vec::new();
    message(&mut sent, b'H', &[0, 0, 1, 0, 0]);
    message(&mut sent, b'd', b"(4294967294,65535)\n");
    finish(&mut sent, 1);
    let mut frames = CopyFrames::new(RowFormat::Text, 0);
    let mut kept = Kept::default();
    frames.feed(&sent, &mut kept).unwrap();
    frames.end().unwrap();
    assert_eq!(kept.bytes, b"\n");
    assert_eq!(kept.rows, [(4_294_967_294, 1)]);
}

#[test]
fn an_error_in_the_middle_is_kept_with_its_state_and_the_end_is_still_found() {
    let (sent, _) = binary_stream(&[(0, vec![1, 2, 3]), (1, vec![4])]);
    // Cut behind the first row; then the server gives up.
    let first_row = 5 + 7 + 5 + HEADER + 12 + 4 + 3;
    let mut sent = sent[..first_row].to_vec();
    message(
        &mut sent,
        b'E',
        b"SERROR\0C57014\0Mcanceling statement\0Dby someone\0\0",
    );
    message(&mut sent, b'Z', b"E");
    let (_, end) = feed(RowFormat::Binary, &sent, &[11]).unwrap();
    assert_eq!(end.transaction, b'E');
    let error = end.error.unwrap();
    assert_eq!(error.code, "57014");
    assert_eq!(error.message, "canceling statement; by someone");
}

#[test]
fn rows_that_descend_wrong_counts_and_other_forms_are_refused() {
    let (sent, _) = binary_stream(&[(5, vec![1]), (4, vec![1])]);
    assert!(matches!(
        feed(RowFormat::Binary, &sent, &[100]),
        Err(FrameError::Order(_))
    ));
    let (sent, _) = binary_stream(&[(5, vec![1])]);
    assert!(feed(RowFormat::Text, &sent, &[100]).is_err());
    let mut short = sent.clone();
    let tag = short.windows(6).position(|w| w == b"COPY 1").unwrap();
    short[tag + 5] = b'2';
    assert!(feed(RowFormat::Binary, &short, &[100]).is_err());
}
