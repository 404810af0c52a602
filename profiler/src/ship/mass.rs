//! The ship's answers to `%peel /mass` and `%peel /quic`, as mars makes them.
//!
//! `/mass` is answered by `[%peel %quac (list part)]` with a part `[name=@t bytes=@ parts=(list part)]`
//! (vere `pkg/vere/mars.c`, `_mars_quac` and `_mars_grab`; `io/conn.c`, `_conn_peel_quiz_cb`), `/quic` by
//! `[%peel %quic [%open bytes=@] [%idle bytes=@] ~]` (`mars.c`, `_mars_work`). Both came with 3.2; before,
//! the answer is that to any unknown question, `~`.
//!
//! The names are those that the ship's kernel and its agents give. An answer may be anything: depth, number
//! of parts and length of names are bounded, and what shares its parts is counted as often as it is met.

use noun::Noun;

use super::conn::ConnError;
use crate::mass::{MAX_DEPTH, Part};

/// Most parts that are taken: a ship of a hundred agents answers with less than a thousand.
const MAX_PARTS: usize = 1 << 14;
/// Longest name, in bits.
const MAX_NAME_BITS: u64 = 256 * 8;

/// What `%peel /quic` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Free in one piece.
    pub open_bytes: u64,
    /// Free in the heap's holes.
    pub idle_bytes: u64,
}

/// Reads the answer to `%peel /mass`.
///
/// # Errors
/// When it is not in the form of vere's, or larger than any ship's.
pub fn parts(data: &Noun) -> Result<Vec<Part>, ConnError> {
    let list = body(data, "quac", "%peel /mass")?;
    // What mars says where the kernel did not answer `/whey`, or with what is no account.
    if list.is_null() {
        return Err(shape(
            "%peel /mass has no parts: the ship's kernel gave no account",
        ));
    }
    let mut reader = Reader { left: MAX_PARTS };
    reader.parts(list, MAX_DEPTH)
}

/// Reads the answer to `%peel /quic`.
///
/// # Errors
/// When it is not in the form of vere's.
pub fn free(data: &Noun) -> Result<Free, ConnError> {
    let list = body(data, "quic", "%peel /quic")?;
    let items = list.as_list().ok_or(shape("%peel /quic has no list"))?;
    let bytes = |name: &str| {
        let named = items.iter().find_map(|item| {
            let (own, bytes) = item.as_cell()?;
            own.is_cord(name).then(|| bytes.as_u64())?
        });
        named.ok_or(shape("%peel /quic does not say what is open and idle"))
    };
    Ok(Free {
        open_bytes: bytes("open")?,
        idle_bytes: bytes("idle")?,
    })
}

/// What lies behind `[%peel tag …]`.
fn body<'a>(data: &'a Noun, tag: &str, question: &'static str) -> Result<&'a Noun, ConnError> {
    if data.is_null() {
        return Err(ConnError::TooOld { question });
    }
    match data.as_tuple::<3>() {
        Some([peel, own, body]) if peel.is_cord("peel") && own.is_cord(tag) => Ok(body),
        _ => Err(shape("a question to mars is answered by something else")),
    }
}

fn shape(what: &'static str) -> ConnError {
    ConnError::Shape { what }
}

/// Reads parts, as many as are left.
struct Reader {
    left: usize,
}

impl Reader {
    fn parts(&mut self, list: &Noun, depth: usize) -> Result<Vec<Part>, ConnError> {
        let items = list.as_list().ok_or(shape("the parts are no list"))?;
        let left = self.left.checked_sub(items.len());
        self.left = left.ok_or(shape("there are more than 16,384 parts"))?;
        let depth = match (depth.checked_sub(1), items.is_empty()) {
            (Some(depth), _) => depth,
            (None, true) => 0,
            (None, false) => return Err(shape("the parts lie deeper than 32 in each other")),
        };
        items
            .into_iter()
            .map(|item| self.part(item, depth))
            .collect()
    }

    fn part(&mut self, part: &Noun, depth: usize) -> Result<Part, ConnError> {
        let [name, bytes, parts] = part.as_tuple().ok_or(shape("a part is no triple"))?;
        let name = name.as_atom().ok_or(shape("a part's name is no text"))?;
        if name.bit_length() > MAX_NAME_BITS {
            return Err(shape("a part's name is longer than 256 bytes"));
        }
        Ok(Part {
            name: String::from_utf8_lossy(&name.to_bytes()).into_owned(),
            bytes: bytes
                .as_u64()
                .ok_or(shape("a part's size is no number of 64 bits"))?,
            parts: self.parts(parts, depth)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, bytes: u64, parts: Vec<Noun>) -> Noun {
        Noun::tuple([Noun::cord(name), Noun::from(bytes), Noun::list(parts)])
    }

    fn quac(list: Noun) -> Noun {
        Noun::tuple([Noun::cord("peel"), Noun::cord("quac"), list])
    }

    fn refused(data: &Noun) -> String {
        parts(data).unwrap_err().to_string()
    }

    #[test]
    fn an_account_is_read() {
        let arvo = part(
            "arvo",
            7,
            vec![part("hoon", 3, vec![]), part("zuse", 4, vec![])],
        );
        let read = parts(&quac(Noun::list([arvo, part("loom", 0, vec![])]))).unwrap();
        let names: Vec<&str> = read[0]
            .parts
            .iter()
            .map(|part| part.name.as_str())
            .collect();
        assert_eq!(
            (read.len(), read[0].bytes, names),
            (2, 7, vec!["hoon", "zuse"])
        );
        assert_eq!(read[1].name, "loom");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(
            refused(&Noun::null()).contains("3.2"),
            "{}",
            refused(&Noun::null())
        );
        assert!(refused(&quac(Noun::null())).contains("no account"));
        let quic = Noun::tuple([Noun::cord("peel"), Noun::cord("quic"), Noun::null()]);
        for odd in [
            Noun::from(7_u64),
            Noun::cell(Noun::cord("peel"), Noun::null()),
            quic,
            quac(Noun::from(7_u64)),
            quac(Noun::list([Noun::from(7_u64)])),
            quac(Noun::list([Noun::cell(
                Noun::cord("arvo"),
                Noun::from(7_u64),
            )])),
            // No list of parts, a name and a size that are cells, a list that ends in a number.
            quac(Noun::list([Noun::tuple(
                [1, 2, 3].map(|n: u64| Noun::from(n)),
            )])),
            quac(Noun::list([Noun::tuple([
                quac(Noun::null()),
                Noun::null(),
                Noun::null(),
            ])])),
            quac(Noun::list([Noun::tuple([
                Noun::null(),
                quac(Noun::null()),
                Noun::null(),
            ])])),
            quac(Noun::cell(part("arvo", 1, vec![]), Noun::from(3_u64))),
        ] {
            let words = refused(&odd);
            assert!(words.contains("something else"), "{odd:?}: {words}");
        }
    }

    #[test]
    fn huge_atoms_are_refused_and_odd_names_are_kept() {
        let long = part(&"x".repeat(257), 1, vec![]);
        assert!(refused(&quac(Noun::list([long]))).contains("longer than 256"));
        let large = Noun::tuple([Noun::cord("arvo"), Noun::from(u128::MAX), Noun::null()]);
        assert!(refused(&quac(Noun::list([large]))).contains("64 bits"));
        let odd = Noun::tuple([Noun::from(0xff_u64), Noun::from(1_u64), Noun::null()]);
        let read = parts(&quac(Noun::list([odd]))).unwrap();
        assert_eq!(read[0].name, "\u{fffd}");
        assert_eq!(
            parts(&quac(Noun::list([part("", 0, vec![])]))).unwrap()[0].name,
            ""
        );
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |depth: usize| {
            let inner = part("x", 1, vec![]);
            let whole = (1..depth).fold(inner, |inner, _| part("x", 1, vec![inner]));
            quac(Noun::list([whole]))
        };
        assert!(parts(&nested(MAX_DEPTH)).is_ok());
        assert!(refused(&nested(MAX_DEPTH + 1)).contains("deeper"));
        assert!(refused(&nested(5000)).contains("deeper"));
        let many = |count: usize| quac(Noun::list(vec![part("x", 1, vec![]); count]));
        assert!(parts(&many(MAX_PARTS)).is_ok());
        assert!(refused(&many(MAX_PARTS + 1)).contains("more than 16,384"));
        // 2^30 parts in a noun of thirty: each has the next one twice.
        let doubled = (0..30).fold(part("x", 1, vec![]), |inner, _| {
            part("x", 1, vec![inner.clone(), inner])
        });
        assert!(refused(&quac(Noun::list([doubled]))).contains("more than 16,384"));
    }

    #[test]
    fn free_memory_is_read() {
        let value = |name: &str, bytes: u64| Noun::cell(Noun::cord(name), Noun::from(bytes));
        let quic = |items: Vec<Noun>| {
            Noun::tuple([Noun::cord("peel"), Noun::cord("quic"), Noun::list(items)])
        };
        let expected = Free {
            open_bytes: 5 << 30,
            idle_bytes: 7,
        };
        let answer = quic(vec![value("open", 5 << 30), value("idle", 7)]);
        assert_eq!(free(&answer).unwrap(), expected);
        assert!(matches!(free(&Noun::null()), Err(ConnError::TooOld { .. })));
        for odd in [
            quic(vec![value("open", 1)]),
            quic(vec![]),
            quac(Noun::null()),
            quic(vec![
                value("open", 1),
                Noun::cell(Noun::cord("idle"), Noun::from(u128::MAX)),
            ]),
            Noun::tuple([Noun::cord("peel"), Noun::cord("quic"), Noun::from(3_u64)]),
        ] {
            assert!(free(&odd).is_err(), "{odd:?}");
        }
    }
}
