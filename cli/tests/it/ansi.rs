//! From letters on a terminal to a page that looks like it. Knows the few attributes that `laneway top` uses, and refuses others, so that
//! no picture lacks what the terminal shows.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Cells of one height and one width, in a font that has the blocks and signs.
const HEAD: &str = "<!doctype html><meta charset=utf-8><style>
    body { margin: 0; width: max-content; background: #14171c }
    pre { margin: 0; padding: 14px 18px; font: 15px/18px 'DejaVu Sans Mono', monospace; color: #d7dae0 }
    .s1 { font-weight: bold } .s2 { color: #8a919e }
    .s31 { color: #ff6e6e } .s32 { color: #7fd68a } .s33 { color: #f2c45c } .s36 { color: #63c8d8 }
    .s2.s31, .s2.s32, .s2.s33, .s2.s36 { opacity: 0.7 }
    .s7 { background: #d7dae0; color: #14171c }
</style><pre>";

/// What `tmux capture-pane -e` prints, as a page.
pub(crate) fn page(screen: &str) -> String {
    let mut page = HEAD.to_owned();
    let mut attributes = BTreeSet::<String>::new();
    let mut parts = screen.trim_end_matches('\n').split("\u{1b}[");
    page += &escaped(parts.next().unwrap_or_default());
    for part in parts {
        let (codes, text) = part.split_once('m').expect("colours and the like, and nothing else");
        // The first colours have a short form and a long one.
        let codes = ["1", "2", "3", "6"]
            .iter()
            .fold(codes.to_owned(), |codes, colour| codes.replace(&format!("38;5;{colour}"), &format!("3{colour}")));
        for code in codes.split(';') {
            match code {
                "" | "0" => attributes.clear(),
                "39" => attributes.retain(|known: &String| known.len() == 1),
                "31" | "32" | "33" | "36" => {
                    attributes.retain(|known| known.len() == 1);
                    attributes.insert(code.to_owned());
                }
                "1" | "2" | "7" => drop(attributes.insert(code.to_owned())),
                // No other background than that of the terminal.
                "49" => {}
                _ => panic!("the pictures know nothing of the attribute {code:?}"),
            }
        }
        let classes: Vec<String> = attributes.iter().map(|code| format!("s{code}")).collect();
        write!(page, "<span class=\"{}\">{}</span>", classes.join(" "), escaped(text)).expect("memory");
    }
    page + "</pre>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[test]
fn what_stands_in_the_terminal_stands_on_the_page() {
    let page = page("a<b \u{1b}[1m\u{1b}[38;5;1mred\u{1b}[39m bold\u{1b}[49m\u{1b}[0;2m dim\u{1b}[0m\n▁█░\n\n");
    let body = page.strip_prefix(HEAD).expect("the head");
    let spans = [("s1", ""), ("s1 s31", "red"), ("s1", " bold"), ("s1", ""), ("s2", " dim"), ("", "\n▁█░")];
    let spans = spans.map(|(classes, text)| format!("<span class=\"{classes}\">{text}</span>"));
    assert_eq!(body, format!("a&lt;b {}</pre>", spans.concat()));
}
