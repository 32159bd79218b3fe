//! Names as they stand in Chinese registers: Han names with one- and two-character surnames, names of
//! minorities with a middle dot, rare characters, and Latin names of passport holders.

use rand::{Rng, RngExt};

/// The middle dot that GB/T and the Unicode Standard name for Chinese text, U+00B7.
pub(crate) const MIDDLE_DOT: char = '·';

const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任\
                        卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫雷龙史陶贺毛段郝顾龚邵万覃武钱戴严欧莫孔向汤";
const COMPOUND_SURNAMES: [&str; 10] =
    ["欧阳", "司马", "上官", "诸葛", "东方", "尉迟", "皇甫", "令狐", "慕容", "司徒"];
const MEN: &str =
    "伟强磊军勇杰涛超明刚平辉鹏华飞鑫波斌宇浩凯健俊帆帅旭宁龙林阳建国志文海东峰亮成晨博翔毅诚坤哲轩子豪泽睿";
const WOMEN: &str =
    "芳娜敏静丽艳娟霞秀英玲桂兰洁梅琳雪慧莹婷倩颖佳欣怡蓉燕红琴云萍璐瑶悦梦雨涵思琪晓薇紫萱若彤诗雅";
/// Two of them beyond the characters that GBK knows, one beyond the Basic Multilingual Plane.
const RARE: [char; 8] = ['喆', '堃', '淼', '犇', '翀', '㛃', '䶮', '𬭎'];

const MINORITY_MEN: [&str; 10] = [
    "买买提",
    "阿不都热合曼",
    "艾力",
    "吐尔逊",
    "卡德尔",
    "玉素甫",
    "艾尼瓦尔",
    "伊力哈木",
    "木拉提",
    "巴哈提",
];
const MINORITY_WOMEN: [&str; 10] = [
    "阿依古丽",
    "古丽娜尔",
    "迪丽热巴",
    "热依汗",
    "帕提古丽",
    "米热古丽",
    "哈丽旦",
    "阿孜古丽",
    "努尔古丽",
    "玛依拉",
];
const TIBETAN: [&str; 8] =
    ["扎西多吉", "次仁卓玛", "格桑梅朵", "丹增曲扎", "洛桑次仁", "索朗旺堆", "白玛央金", "尼玛顿珠"];

const LATIN_GIVEN: [&str; 16] = [
    "Maria", "John", "Anna", "José", "Michael", "Olga", "Thomas", "Linh", "Ahmed", "Jürgen", "Priya",
    "Emily", "Somchai", "Kenji", "Zoë", "David",
];
const LATIN_FAMILY: [&str; 16] = [
    "Garcia",
    "Smith",
    "Müller",
    "Nguyen",
    "O'Brien",
    "Ivanova",
    "Tanaka",
    "Hassan",
    "Fernández",
    "Kim",
    "Sharma",
    "Dubois",
    "Rossi",
    "Jean-Baptiste",
    "Wong",
    "Johnson",
];

/// The name of a resident, drawn from `rng`: Han mostly, one in 24 a minority's.
pub(crate) fn resident_name(rng: &mut impl Rng, woman: bool) -> String {
    match rng.random_range(0..48) {
        0 => minority_name(rng, woman),
        1 => pick(rng, &TIBETAN).to_owned(),
        _ => han_name(rng, woman),
    }
}

/// A passport holder's name in Latin letters, drawn from `rng`.
pub(crate) fn latin_name(rng: &mut impl Rng) -> String {
    let given = pick(rng, &LATIN_GIVEN);
    let family = pick(rng, &LATIN_FAMILY);
    if rng.random_ratio(1, 4) {
        return format!("{given} {} {family}", pick(rng, &LATIN_GIVEN));
    }
    format!("{given} {family}")
}

/// True if two names are the same to a register: neither case nor the noise of this crate tells them apart.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// True for names written in Chinese characters.
pub(crate) fn is_han(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn han_name(rng: &mut impl Rng, woman: bool) -> String {
    let mut name = match rng.random_ratio(1, 40) {
        true => pick(rng, &COMPOUND_SURNAMES).to_owned(),
        false => pick_char(rng, SURNAMES).to_string(),
    };
    let given = if woman { WOMEN } else { MEN };
    if rng.random_ratio(3, 4) {
        name.push(pick_char(rng, given));
    }
    let last = if rng.random_ratio(1, 60) { pick(rng, &RARE) } else { pick_char(rng, given) };
    name.push(last);
    name
}

fn minority_name(rng: &mut impl Rng, woman: bool) -> String {
    let own = pick(rng, if woman { &MINORITY_WOMEN } else { &MINORITY_MEN });
    format!("{own}{MIDDLE_DOT}{}", pick(rng, &MINORITY_MEN))
}

fn pick<T: Copy>(rng: &mut impl Rng, choices: &[T]) -> T {
    choices[rng.random_range(0..choices.len())]
}

/// One character of a text that holds only three-byte characters, which is every list above.
fn pick_char(rng: &mut impl Rng, text: &str) -> char {
    let start = 3 * rng.random_range(0..text.len() / 3);
    text[start..].chars().next().expect("the start lies before the end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_only_three_byte_characters_once_each() {
        for list in [SURNAMES, MEN, WOMEN] {
            assert!(list.chars().all(|character| character.len_utf8() == 3));
            let distinct: std::collections::HashSet<char> = list.chars().collect();
            assert_eq!(distinct.len(), list.chars().count(), "{list}");
        }
    }
}
