/// A list of words, which are found whatever their case, and with invisible characters in them.
pub struct Words(Vec<Vec<char>>);

/// A character of a text in lower case, and its place in the text.
struct Letter {
    folded: char,
    start: usize,
    end: usize,
}

impl Words {
    pub fn new(list: &[String]) -> Words {
        let folded = |word: &String| letters(word).iter().map(|letter| letter.folded).collect::<Vec<char>>();
        Words(list.iter().map(folded).filter(|word| !word.is_empty()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn are_in(&self, text: &str) -> bool {
        let letters = letters(text);
        (0..letters.len()).any(|at| self.length_at(&letters, at).is_some())
    }

    /// The text with an asterisk for each visible character of a word; `None` if it has none of the words.
    pub fn mask(&self, text: &str) -> Option<String> {
        let letters = letters(text);
        let mut masked = String::new();
        let (mut at, mut copied) = (0, 0);
        while at < letters.len() {
            match self.length_at(&letters, at) {
                Some(length) => {
                    masked.push_str(&text[copied..letters[at].start]);
                    masked.extend(std::iter::repeat('*').take(length));
                    copied = letters[at + length - 1].end;
                    at += length;
                }
                None => at += 1,
            }
        }
        match copied {
            0 => None,
            _ => Some(masked + &text[copied..]),
        }
    }

    /// The length of the word that begins at a letter, if it is a whole word: "class" has no "ass".
    fn length_at(&self, letters: &[Letter], at: usize) -> Option<usize> {
        let is_inside = |at: usize| letters.get(at).map_or(false, |letter| letter.folded.is_alphanumeric());
        if at > 0 && is_inside(at - 1) {
            return None;
        }
        let found = self.0.iter().filter(|word| {
            letters.len() - at >= word.len()
                && word.iter().zip(&letters[at..]).all(|(want, letter)| *want == letter.folded)
                && !is_inside(at + word.len())
        });
        found.map(Vec::len).max()
    }
}

fn letters(text: &str) -> Vec<Letter> {
    let visible = text.char_indices().filter(|(_, c)| !is_invisible(*c));
    visible
        .flat_map(|(start, c)| {
            let end = start + c.len_utf8();
            c.to_lowercase().map(move |folded| Letter { folded, start, end })
        })
        .collect()
}

/// Whether a character takes no room: it could hide a word from a filter, not from a reader.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_found() {
        let words = Words::new(&["heck".to_string(), "Straße".to_string(), "bad word".to_string()]);
        for (text, want) in [
            ("heck", Some("****")),
            ("HECK, heck?", Some("****, ****?")),
            ("checkers heckle", None),
            ("h\u{200b}eck\u{ad}!", Some("****\u{ad}!")),
            ("die STRASSE", None),
            ("die strasse STRAßE", Some("die strasse ******")),
            ("a bad word.", Some("a ********.")),
            ("", None),
        ] {
            assert_eq!(words.mask(text).as_deref(), want, "{:?}", text);
            assert_eq!(words.are_in(text), want.is_some(), "{:?}", text);
        }
        assert!(Words::new(&["\u{200b}".to_string()]).is_empty());
    }
}
