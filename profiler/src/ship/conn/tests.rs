//! Questions and answers, and everything that is no king.

use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

const LIMIT: Duration = Duration::from_millis(50);

fn connect_to(path: &Path, king: u32) -> Result<Conn, ConnError> {
    Conn::connect(&Roots::default(), path.to_path_buf(), king, LIMIT)
}

fn after(bytes: &[u8]) -> (Conn, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).unwrap();
    (Conn::over(ours.into(), PathBuf::from("conn.sock")), theirs)
}

fn soon() -> Instant {
    Instant::now() + LIMIT
}

#[test]
fn a_path_longer_than_an_address_leads_to_the_king() {
    let home = tempfile::tempdir().unwrap();
    let long = home.path().join("d".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let (short_path, path) = (home.path().join("s"), long.join("conn.sock"));
    // Bound elsewhere: nothing binds to such a path itself.
    let _listener = UnixListener::bind(&short_path).unwrap();
    std::fs::rename(&short_path, &path).unwrap();
    let own = std::process::id();
    assert!(path.as_os_str().len() > 108);
    assert!(connect_to(&path, own).is_ok());
    let error = connect_to(&path, own + 1).unwrap_err();
    assert!(matches!(error, ConnError::NotTheKing { holder, .. } if holder == own));
}

#[test]
fn what_is_no_socket_of_a_king_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let own = std::process::id();
    let error = |name: &str| connect_to(&path(name), own).unwrap_err();
    assert!(matches!(error("none"), ConnError::NoSocket { .. }));
    std::fs::write(path("file"), "").unwrap();
    assert!(matches!(error("file"), ConnError::NotASocket { .. }));
    drop(UnixListener::bind(path("dead")).unwrap());
    assert!(matches!(error("dead"), ConnError::NobodyListens { .. }));
    // A link may lead to any socket of the host.
    let listener = UnixListener::bind(path("live")).unwrap();
    std::os::unix::fs::symlink(path("live"), path("link")).unwrap();
    assert!(matches!(error("link"), ConnError::NotASocket { .. }));
    // Nobody accepts: one connection may wait for that, then connecting itself waits.
    rustix::net::listen(&listener, 0).unwrap();
    let _first = connect_to(&path("live"), own).unwrap();
    assert!(matches!(error("live"), ConnError::NotTaken { .. }));
}

#[test]
fn silence_ends_in_time_and_an_end_is_told() {
    let (mut conn, theirs) = after(&[0, 9]);
    assert_eq!(conn.answer(soon()).unwrap(), None);
    // Cut short, within a frame.
    drop(theirs);
    assert!(matches!(conn.answer(soon()), Err(ConnError::Closed)));
    // Or on asking, and without a SIGPIPE.
    let error = conn.ask(Question::Live, LIMIT).unwrap_err();
    assert!(matches!(error, ConnError::Closed), "{error}");
}

#[test]
fn hostile_frames_are_errors() {
    // Another version, and a length beyond the limit.
    for bytes in [&[7, 0, 0, 0, 0][..], &[0, 0xff, 0xff, 0xff, 0xff]] {
        let error = after(bytes).0.answer(soon()).unwrap_err();
        assert!(matches!(error, ConnError::Frame(_)), "{error}");
    }
    let error = after(&[0, 2, 0, 0, 0, 0xff, 0xff]).0.answer(soon());
    assert!(matches!(error, Err(ConnError::Noun(_))), "{error:?}");
}

#[test]
fn a_question_that_is_not_read_is_given_up() {
    let (mut conn, _theirs) = after(&[]);
    let error = loop {
        if let Err(error) = conn.ask(Question::Lag, LIMIT) {
            break error;
        }
    };
    assert!(matches!(error, ConnError::NotTaken { .. }), "{error}");
}

fn body(noun: &Noun) -> Vec<u8> {
    noun::jam(noun)
}

#[test]
fn questions_have_the_shape_of_veres() {
    let questions = [
        (Question::Live, "peel"),
        (Question::Info, "peel"),
        (Question::Lag, "peek"),
        (Question::Mass, "peel"),
        (Question::Quic, "peel"),
    ];
    for (question, tag) in questions {
        let mut decoder = Decoder::new(1 << 10);
        decoder.push(&encode(7, question).unwrap());
        let noun = noun::cue(&decoder.next_body().unwrap().unwrap()).unwrap();
        let [rid, own_tag, _] = noun.as_tuple().unwrap();
        assert_eq!(rid.as_u64(), Some(7));
        assert!(own_tag.is_cord(tag));
    }
}

#[test]
fn answers_are_read() {
    let yes = Noun::cell(Noun::null(), Noun::loobean(true));
    assert_eq!(decode(Question::Live, &yes).unwrap(), Answer::Live);
    let no = Noun::cell(Noun::null(), Noun::loobean(false));
    assert!(decode(Question::Live, &no).is_err());
    let empty = Noun::cell(Noun::cord("peek"), Noun::null());
    assert_eq!(decode(Question::Lag, &empty).unwrap(), Answer::Lag);
    assert!(decode(Question::Lag, &yes).is_err());
}

#[test]
fn counters_are_found_in_the_mass_and_missing_ones_are_not_zero() {
    let value = |name: &str, number: u64| {
        Noun::tuple([Noun::cord(name), Noun::loobean(true), Noun::from(number)])
    };
    let group = |name: &str, parts: Vec<Noun>| {
        Noun::tuple([Noun::cord(name), Noun::loobean(false), Noun::list(parts)])
    };
    let lord = group("lord", vec![value("event", 41), group("queue", vec![])]);
    // Mesa's driver has the same name and says nothing.
    let ames = [vec![value("dropped", 7)], vec![]].map(|parts| group("ames", parts));
    let work = group("work", vec![group("auto", ames.to_vec())]);
    let mass = group("pier", vec![value("path", 1), work, lord]);
    let answer = decode(Question::Info, &Noun::cell(Noun::null(), mass)).unwrap();
    let expected = KingInfo {
        event_number: Some(41),
        queue: None,
        ames: BTreeMap::from([("dropped".to_owned(), 7)]),
    };
    assert_eq!(answer, Answer::Info(expected));
    let odd = Noun::cell(Noun::null(), Noun::from(9_u64));
    let nothing = Answer::Info(KingInfo::default());
    assert_eq!(decode(Question::Info, &odd).unwrap(), nothing);
    assert!(decode(Question::Info, &Noun::null()).is_err());
}

#[test]
fn refusals_are_told_in_veres_words() {
    let code = u64::from(-3_i32 as u32);
    let bail = Noun::tuple([
        Noun::null(),
        Noun::cord("bail"),
        Noun::from(code),
        Noun::cord("tag-unknown"),
    ]);
    let error = open_answer(&body(&bail)).unwrap_err().to_string();
    assert_eq!(error, "the king refused the question: tag-unknown (-3)");
}

#[test]
fn hostile_bytes_are_errors() {
    let valid = body(&Noun::tuple([
        Noun::from(7_u64),
        Noun::null(),
        Noun::loobean(true),
    ]));
    assert!(open_answer(&valid).is_ok());
    for cut in 0..valid.len() - 1 {
        // Never a panic; what is cut short may still be another, shorter noun.
        let _ = open_answer(&valid[..cut]);
    }
    for body in [&[][..], &[0xff; 64], &[0; 64], &[0x80; 4096]] {
        assert!(open_answer(body).is_err(), "{body:?}");
    }
    // A cell of cells as deep as the bytes last.
    assert!(open_answer(&[0x55; 1 << 16]).is_err());
}
