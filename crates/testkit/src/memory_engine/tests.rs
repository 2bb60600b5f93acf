use std::sync::Arc;
use std::time::Duration;

use model::{
    DatabaseSelection, FRAME_BYTES, NoProgress, PieceSink, SegmentReader, ServerExecutionId,
    SourcePlan,
};

use super::*;

/// Keeps the pieces; every buffer is new.
#[derive(Default)]
struct Kept(Vec<Vec<u8>>);

impl PieceSink for Kept {
    fn buffer(&mut self) -> Outcome<Vec<u8>> {
        Ok(Vec::with_capacity(FRAME_BYTES))
    }

    fn full(&mut self, buffer: Vec<u8>) -> Outcome<()> {
        self.0.push(buffer);
        Ok(())
    }
}

fn request() -> SourceRequest {
    SourceRequest {
        selection: DatabaseSelection::whole(ObjectName::one("shop")),
        online: true,
        streams: 1,
        server_execution_id: "1.1".parse::<ServerExecutionId>().unwrap(),
        yield_to_ddl: None,
        max_snapshot: None,
        skip_without_rights: false,
        base: None,
        beats: Vec::new(),
        progress: Arc::new(NoProgress),
    }
}

async fn opened(engine: &MemoryEngine) -> (Box<dyn Source>, SourcePlan, Box<dyn SegmentReader>) {
    let connection = Connection::Sqlite {
        path: "/nowhere".into(),
    };
    let mut source = engine.open_source(&connection, request()).await.unwrap();
    let plan = source.plan().await.unwrap();
    let reader = source.reader().await.unwrap();
    (source, plan, reader)
}

fn engine(rows: Vec<Vec<u8>>) -> MemoryEngine {
    let engine = MemoryEngine::new(SiteType::Sqlite);
    engine.put_database("shop", MemoryDatabase::new().table("item", rows, 2));
    engine
}

#[tokio::test]
async fn rows_span_pieces_and_the_index_covers_every_byte() {
    let engine = engine(vec![vec![7; 10], vec![8; 2 * FRAME_BYTES], Vec::new()]);
    let (_source, plan, mut reader) = opened(&engine).await;
    let mut kept = Kept::default();
    let read = reader.read(&plan.tasks[0], &mut kept).unwrap();
    let bytes: usize = kept.0.iter().map(Vec::len).sum();
    assert_eq!(read.index.bytes(), bytes as u64);
    assert_eq!(read.index.rows(), 3);
    assert!(kept.0.len() > 2);
    assert!(kept.0.iter().all(|piece| piece.len() <= FRAME_BYTES));
}

#[tokio::test]
async fn a_hanging_read_ends_when_its_canceller_is_dropped() {
    let engine = engine(vec![vec![7; 10]]);
    engine.trouble(Stage::Piece, 1, Trouble::Hang);
    let (_source, plan, mut reader) = opened(&engine).await;
    let canceller = reader.canceller();
    let task = plan.tasks[0].clone();
    let read =
        tokio::task::spawn_blocking(move || reader.read(&task, &mut Kept::default()).map(|_| ()));
    engine.reached(Stage::Piece, 1).await;
    assert!(!read.is_finished());
    drop(canceller);
    let ended = tokio::time::timeout(Duration::from_secs(5), read).await;
    assert!(ended.expect("in time").expect("no panic").is_err());
}

#[tokio::test]
async fn a_source_that_is_finished_while_a_reader_lives_says_so() {
    let engine = engine(vec![vec![7; 10]]);
    let (source, _plan, reader) = opened(&engine).await;
    let fault = source.finish().await.expect_err("a reader lives");
    assert_eq!(fault.code(), "memory-law");
    drop(reader);
    let (source, _plan, reader) = opened(&engine).await;
    drop(reader);
    source.finish().await.expect("no reader lives");
}
