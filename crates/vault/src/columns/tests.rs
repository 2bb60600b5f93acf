use proptest::prelude::*;

use super::*;

type Row = Vec<Option<Vec<u8>>>;

fn encoded(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend_from_slice(&(row.len() as u16).to_be_bytes());
        for field in row {
            match field {
                None => bytes.extend_from_slice(&NULL.to_be_bytes()),
                Some(value) => {
                    bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
                    bytes.extend_from_slice(value);
                }
            }
        }
    }
    bytes
}

/// Numbers of a width, with or without nulls, or texts of any length.
fn column() -> impl Strategy<Value = BoxedStrategy<Option<Vec<u8>>>> {
    let fixed = (0_usize..20, any::<bool>()).prop_map(|(width, nulls)| {
        let value = prop::collection::vec(any::<u8>(), width);
        match nulls {
            false => value.prop_map(Some).boxed(),
            true => prop::option::of(value).boxed(),
        }
    });
    let free = Just(prop::option::of(prop::collection::vec(any::<u8>(), 0..40)).boxed());
    let none = Just(Just(None).boxed());
    prop_oneof![6 => fixed, 3 => free, 1 => none]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(column(), 0..6)
        .prop_flat_map(|columns| prop::collection::vec(columns, 0..60))
}

/// Packs a content frame by frame, as a stream does; answers how many frames were laid out.
fn round_trip(content: &[u8], cuts: &[usize]) -> usize {
    let (mut cursor, mut packer) = (RowCursor::new(), ColumnPacker::default());
    let mut laid_out = 0;
    let mut from = 0;
    for to in cuts.iter().copied().chain([content.len()]) {
        let to = to.clamp(from, content.len());
        let frame = &content[from..to];
        if let Some(layout) = packer.pack(frame, &mut cursor) {
            assert!(layout.len() <= frame.len() + SPARE_BYTES);
            assert_eq!(unpack(layout, frame.len()).as_deref(), Some(frame));
            laid_out += 1;
        }
        from = to;
    }
    laid_out
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were_wherever_frames_are_cut(
        rows in rows(),
        mut cuts in prop::collection::vec(0_usize..4000, 0..5),
    ) {
        cuts.sort_unstable();
        round_trip(&encoded(&rows), &cuts);
    }

    #[test]
    fn rows_are_found_again_in_a_frame_that_begins_within_one(
        rows in prop::collection::vec(prop::collection::vec(any::<[u8; 9]>(), 3), 40),
        cut in 0_usize..400,
    ) {
        let rows: Vec<Row> = rows
            .iter()
            .map(|row| row.iter().map(|value| Some(value.to_vec())).collect())
            .collect();
        // The second frame has 30 whole rows at least.
        prop_assert!(round_trip(&encoded(&rows), &[cut]) >= 1);
    }

    #[test]
    fn bytes_that_are_no_rows_are_no_error(
        content in prop::collection::vec(any::<u8>(), 0..2000),
        cuts in prop::collection::vec(0_usize..2000, 0..3),
    ) {
        round_trip(&content, &cuts);
    }

    #[test]
    fn a_layout_that_is_anything_at_all_is_refused_and_never_a_panic(
        layout in prop::collection::vec(0_u8..4, 0..200),
        bytes in 0_usize..1000,
    ) {
        if let Some(plain) = unpack(&layout, bytes) {
            prop_assert_eq!(plain.len(), bytes);
        }
    }

    #[test]
    fn a_layout_with_one_byte_changed_is_refused_or_gives_as_many_bytes(
        rows in rows(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let content = encoded(&rows);
        let mut packer = ColumnPacker::default();
        if let Some(layout) = packer.pack(&content, &mut RowCursor::new()) {
            let mut layout = layout.to_vec();
            let at = at.index(layout.len());
            layout[at] ^= flip;
            if let Some(plain) = unpack(&layout, content.len()) {
                prop_assert_eq!(plain.len(), content.len());
            }
        }
    }
}

#[test]
fn columns_pack_better_than_the_rows_did() {
    let rows: Vec<Row> = (0..4000_u32)
        .map(|row| {
            let text = format!("customer {}", row % 97);
            vec![
                Some(u64::from(row).to_be_bytes().to_vec()),
                (row % 5 != 0).then(|| (row * 7919 % 1000).to_be_bytes().to_vec()),
                Some(text.into_bytes()),
            ]
        })
        .collect();
    let content = encoded(&rows);
    let mut packer = ColumnPacker::default();
    let layout = packer.pack(&content, &mut RowCursor::new()).unwrap();
    let packed = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap().len();
    assert!(packed(layout) * 2 < packed(&content));
}

#[test]
fn few_rows_and_a_row_larger_than_a_frame_are_kept_as_they_are() {
    let row: Row = vec![Some(vec![7; 5000])];
    let content = encoded(&[row.clone(), row]);
    assert_eq!(round_trip(&content, &[1000, 2000, 6000]), 0);
}
