"""Names of companies and people that do not exist. Only vocabulary and how a name is put together live here.

The two splits share the legal forms and nothing else: no coined word, surname or noun of one is in the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

LEGAL_FORMS = ("Inc.", "Corp.", "Corporation", "plc", "Ltd", "Limited", "AG", "SE", "Group", "Holdings", "Co.", "N.V.")


@dataclass(frozen=True, slots=True)
class NameParts:
    """What names are made of: `onsets`, `cores` and `endings` make coined words, the rest are whole words."""

    onsets: tuple[str, ...]
    cores: tuple[str, ...]
    endings: tuple[str, ...]
    surnames: tuple[str, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    first_names: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TRAIN_NAMES = NameParts(
    onsets=_words(
        "Ar Bel Cal Dor El Fen Gar Hel Il Jas Kel Lor Mar Nor Or Pel Quan Ros Sal Tor Ul Ver Wes Xan Yor Zel "
        "Al Bran Cor Dan Er Fal Glen Har In Jor Kar Lan Mer Nov Os Par Ral San Tal Ur Val Win Zan Bri Cly Dru "
        "Fro Gri Kry Plu Sky Tri Vy Ac Em Op Um A E I O U Ba Be Bi Bo Bu Da De Di Do Du Ga Ge Go Ha Ho Ka Ke Ki "
        "La Le Li Lo Lu Ma Me Mi Mo Na Ne Ni No Pa Pe Po Ra Re Ri Ro Sa Se So Ta Te To Va Ve Vi Vo Za Ze"
    ),
    cores=_words(
        "a e i o u al an ar el en er il in or ul am em im om um ba be bi bo da de di do ga ge gi go ka ke ki ko "
        "la le li lo ma me mi mo na ne ni no pa pe pi po ra re ri ro sa se si so ta te ti to va ve vi vo za ze"
    ),
    endings=_words(
        "ton vale dyne tek nova ris dor len mar nix plex ra sis tis via ward wick zon don ford gate ham land mere "
        "more stone well worth berg stad haus quist sen son vik lia ria tia cor tron lex max pax rix tex vex eon "
        "ium ora ara ida ica ena ine ell ett ic ent and ord ust iff ock ump ash"
    ),
    surnames=_words(
        "Abbott Barlow Castell Dunmore Eastman Farley Gresham Hadley Ingram Jessop Kendrick Lockwood Marlowe Norris "
        "Oakes Prescott Quill Radley Stanton Thorne Underhill Vickers Whitlock Yardley Almqvist Bergman Dahl Eklund "
        "Fischer Gruber Hoffman Keller Lindner Meyer Novak Petrov Rossi Sato Tanaka Weber Zimmer Moreau Laurent "
        "Garcia Silva Costa Okafor Mensah Singh Patel Chen Kim Nguyen"
    ),
    adjectives=_words(
        "Northern Southern Pacific Atlantic United General Allied Global First Prime Silver Golden Red Blue Green "
        "Western Eastern Central Royal Modern Advanced Integrated National Continental Bright Clear Deep High Iron"
    ),
    nouns=_words(
        "Systems Technologies Industries Foods Logistics Energy Materials Pharma Software Networks Devices Motors "
        "Retail Brands Chemicals Minerals Robotics Media Airlines Shipping Insurance Semiconductors Water Timber "
        "Steel Electric Instruments Packaging Health Diagnostics River Harbor Ridge Bay Valley Summit Bridge Field"
    ),
    first_names=_words(
        "Anna Boris Clara David Elena Frank Grace Henry Irene James Karin Louis Maria Nils Olga Peter Rita Simon"
    ),
)

HELD_OUT_NAMES = NameParts(
    onsets=_words("Bryn Cas Dal Esk Fir Gal Hol Jun Kes Lum Mun Nes Pol Quo Ruv Sol Tam Ves Wyn Yel Cin Hux Mav Ost"),
    cores=_words("ab ac ad ag eb ed eg ib ob od ub uf ev iv ov ay ey oy os is"),
    endings=_words("bury combe dale fell grove holt kirk leigh mont nor pell rax sol tar umbra vane wold yard zen"),
    surnames=_words(
        "Ainsley Brandt Corvin Delacroix Ellery Fairfax Galloway Hawthorne Ivers Kowalski Larkin Merriweather "
        "Nakamura Osborne Pemberton Rutherford Sorensen Tremaine Vasquez Winslow"
    ),
    adjectives=_words("Arctic Baltic Copper Crimson Eternal Grand Inland Lunar Noble Open Quiet Rapid Solar Twin"),
    nouns=_words(
        "Aerospace Analytics Biotech Ceramics Dairy Fabrics Footwear Gaming Hydraulics Lighting Marine Optics Paper "
        "Printing Rail Solutions Textiles Wireless Canyon Harvest Lagoon Meadow Orchard"
    ),
    first_names=_words("Astrid Bruno Cecilia Dmitri Esther Gustav Hannah Ivo Judith Marcus Nadia Oscar Paula Tobias"),
)


def coined_word(rng: Random, parts: NameParts) -> str:
    """A word that no dictionary has: two or three syllables, capitalised."""
    middle = rng.choice(parts.cores) if rng.random() < 0.5 else ""
    return (rng.choice(parts.onsets) + middle + rng.choice(parts.endings)).capitalize()


def person_name(rng: Random, parts: NameParts) -> str:
    """A first name and a surname."""
    return f"{rng.choice(parts.first_names)} {rng.choice(parts.surnames)}"


def company_name(rng: Random, parts: NameParts) -> str:
    """The full name of a company, with its legal form."""
    return f"{_stem(rng, parts)} {rng.choice(LEGAL_FORMS)}"


def _stem(rng: Random, parts: NameParts) -> str:
    pattern = rng.randrange(8)
    if pattern <= 2:
        return f"{coined_word(rng, parts)} {rng.choice(parts.nouns)}"
    if pattern == 3:
        return coined_word(rng, parts)
    if pattern == 4:
        return f"{rng.choice(parts.surnames)} & {rng.choice(parts.surnames)}"
    if pattern == 5:
        return f"{rng.choice(parts.adjectives)} {rng.choice(parts.nouns)}"
    if pattern == 6:
        return f"{rng.choice(parts.surnames)} {rng.choice(parts.nouns)}"
    return f"{rng.choice(parts.adjectives)} {coined_word(rng, parts)} {rng.choice(parts.nouns)}"
