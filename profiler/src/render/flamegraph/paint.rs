//! Gives inferno's picture our names, tooltips and colours.
//!
//! inferno colours a frame by its name alone, and compares only innermost frames. So it is given
//! numbers instead of names: it lays the frames out, brings zoom and search along, and what each frame
//! is called and looks like is written over it here.

use std::io;

use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

/// Red, green, blue.
pub type Colour = [u8; 3];

/// What a frame looks like.
#[derive(Debug, Clone)]
pub struct Look {
    /// Its name, with nothing that a terminal or XML would mind but what XML escapes.
    pub name: String,
    /// What its tooltip says beside. Holds no `(`: zoom looks for the last one.
    pub details: String,
    /// Its colour.
    pub colour: Colour,
}

/// The name by which inferno knows the frame of a row: they sort as their rows do.
pub fn number(row: usize) -> String {
    format!("{row:010}")
}

/// Width of the picture before a browser stretches it, and of a letter (inferno
/// `src/flamegraph/mod.rs`: `DEFAULT_IMAGE_WIDTH`, `FONT_SIZE`, `FONT_WIDTH`).
const WIDTH: f64 = 1200.0;
const LETTER: f64 = 12.0 * 0.59;

/// Paints `svg`. `looks` are those of the rows; `all` is the frame that holds them.
///
/// # Errors
/// If `svg` is not as inferno writes it.
pub fn paint(
    svg: &str,
    looks: &[Look],
    all: &Look,
    legend: &[(String, Colour)],
) -> io::Result<Vec<u8>> {
    let mut reader = Reader::from_str(svg);
    let mut writer = Writer::new(Vec::with_capacity(svg.len() * 2));
    let mut look: Option<&Look> = None;
    let mut letters = 0;
    loop {
        let event = reader.read_event().map_err(io::Error::other)?;
        match event {
            Event::Eof => return Ok(writer.into_inner()),
            Event::Start(start) if start.name().as_ref() == b"title" => {
                let text = text_until_end(&mut reader, &start)?;
                let found = match text.split_once(' ').map(|(name, _)| name.parse::<usize>()) {
                    Some(Ok(row)) => looks.get(row),
                    _ => Some(all),
                };
                look = Some(found.ok_or_else(|| unexpected("a frame that it was not given"))?);
                let title = look.map_or_else(String::new, |look| {
                    format!("{} ({})", look.name, look.details)
                });
                write_text(&mut writer, start, &title)?;
            }
            Event::Empty(rect) if look.is_some() && rect.name().as_ref() == b"rect" => {
                let look = look.ok_or_else(|| unexpected("a box outside of a frame"))?;
                letters = fitting(&rect)?;
                writer.write_event(Event::Empty(coloured(&rect, look.colour)?))?;
            }
            Event::Start(start) if look.is_some() && start.name().as_ref() == b"text" => {
                text_until_end(&mut reader, &start)?;
                let name = look.take().map_or("", |look| look.name.as_str());
                write_text(&mut writer, start, &cut(name, letters))?;
            }
            Event::Start(start) if is_subtitle(&start)? => {
                let text = text_until_end(&mut reader, &start)?;
                let end = start.to_end().into_owned();
                writer.write_event(Event::Start(start.borrow()))?;
                writer.write_event(Event::Text(BytesText::new(&text)))?;
                for (name, colour) in legend {
                    let patch =
                        BytesStart::new("tspan").with_attributes([("fill", &*rgb(*colour))]);
                    write_text(&mut writer, patch, "  \u{25a0}")?;
                    writer.write_event(Event::Text(BytesText::new(&format!(" {name}"))))?;
                }
                writer.write_event(Event::End(end))?;
            }
            event => writer.write_event(event)?,
        }
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::other(format!("inferno drew {what}"))
}

/// The text of an element that holds nothing else.
fn text_until_end(reader: &mut Reader<&[u8]>, start: &BytesStart<'_>) -> io::Result<String> {
    let raw = reader.read_text(start.name()).map_err(io::Error::other)?;
    let raw = raw.decode().map_err(io::Error::other)?;
    let text = quick_xml::escape::unescape(&raw).map_err(io::Error::other)?;
    Ok(text.into_owned())
}

fn write_text(writer: &mut Writer<Vec<u8>>, start: BytesStart<'_>, text: &str) -> io::Result<()> {
    let end = start.to_end().into_owned();
    writer.write_event(Event::Start(start.borrow()))?;
    writer.write_event(Event::Text(BytesText::new(text)))?;
    writer.write_event(Event::End(end))
}

fn is_subtitle(start: &BytesStart<'_>) -> io::Result<bool> {
    let id = start.try_get_attribute("id").map_err(io::Error::other)?;
    Ok(id.is_some_and(|id| id.value.as_ref() == b"subtitle"))
}

/// How many letters fit into a box.
fn fitting(rect: &BytesStart<'_>) -> io::Result<usize> {
    let width = rect.try_get_attribute("width").map_err(io::Error::other)?;
    let percent = width.and_then(|width| {
        let text = std::str::from_utf8(&width.value).ok()?;
        text.strip_suffix('%')?.parse::<f64>().ok()
    });
    let percent = percent.ok_or_else(|| unexpected("a box without a width"))?;
    Ok((percent / 100.0 * WIDTH / LETTER) as usize)
}

/// A name in so many letters, as inferno cuts it.
fn cut(name: &str, letters: usize) -> String {
    match letters {
        0..3 => String::new(),
        _ if name.chars().count() < letters => name.to_owned(),
        _ => name.chars().take(letters - 2).chain("..".chars()).collect(),
    }
}

fn coloured(rect: &BytesStart<'_>, colour: Colour) -> io::Result<BytesStart<'static>> {
    let mut coloured = BytesStart::new("rect");
    for attribute in rect.attributes() {
        let attribute = attribute.map_err(io::Error::other)?;
        if attribute.key.as_ref() == b"fill" {
            coloured.push_attribute(("fill", &*rgb(colour)));
        } else {
            coloured.push_attribute(attribute);
        }
    }
    Ok(coloured)
}

fn rgb([red, green, blue]: Colour) -> String {
    format!("rgb({red},{green},{blue})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_their_boxes() {
        assert_eq!(cut("u3r_mug", 2), "");
        assert_eq!(cut("u3r_mug", 8), "u3r_mug");
        assert_eq!(cut("u3r_mug", 5), "u3r..");
    }

    #[test]
    fn what_inferno_never_drew_is_an_error() {
        let look = Look {
            name: "all".to_owned(),
            details: String::new(),
            colour: [0; 3],
        };
        let svg = "<svg><g><title>0000000007 (1 ms)</title></g></svg>";
        assert!(paint(svg, &[], &look, &[]).is_err());
        assert!(paint("<svg><g>", &[], &look, &[]).is_ok());
        assert!(paint("<svg></g>", &[], &look, &[]).is_err());
    }
}
