"""The words that templates are filled with.

Chosen so that most are one token (with a leading space) in common English tokenizers; a family asserts
that for the tokenizer at hand and leaves out what is not.
"""

from __future__ import annotations

FEMALE_NAMES = (
    "Mary Alice Anna Emma Sarah Lucy Jane Kate Laura Rose Helen Julia Maria Claire Susan Emily Grace Amy"
).split()
MALE_NAMES = (
    "John Tom Bob James Harry Paul David Peter Mark Jack Henry George Frank Sam Daniel Charles Simon Luke"
).split()
NAMES = [*FEMALE_NAMES, *MALE_NAMES]
PRONOUN = dict.fromkeys(FEMALE_NAMES, "she") | dict.fromkeys(MALE_NAMES, "he")
REFLEXIVE = {"she": "herself", "he": "himself"}
SURNAMES = (
    "Potter Smith Jones Taylor Wilson Clark Lewis Walker Hall Wright Scott Baker Adams Nelson Carter Turner "
    "Parker Collins Stewart Morris Rogers Reed Morgan Bell Murphy Bailey Cooper Howard Ward Fisher"
).split()

# people by role, with their gender: "The girl hurt herself"
PEOPLE = {
    "girl": "she",
    "woman": "she",
    "queen": "she",
    "mother": "she",
    "sister": "she",
    "aunt": "she",
    "daughter": "she",
    "lady": "she",
    "boy": "he",
    "man": "he",
    "king": "he",
    "father": "he",
    "brother": "he",
    "uncle": "he",
    "son": "he",
    "prince": "he",
}

ANIMALS = "cat dog bird horse cow fox bear lion rabbit duck pig goat frog wolf".split()
PLURALS = {
    "cat": "cats",
    "dog": "dogs",
    "bird": "birds",
    "horse": "horses",
    "cow": "cows",
    "bear": "bears",
    "lion": "lions",
    "duck": "ducks",
    "pig": "pigs",
    "key": "keys",
    "book": "books",
    "car": "cars",
    "boy": "boys",
    "girl": "girls",
    "king": "kings",
    "farmer": "farmers",
    "teacher": "teachers",
    "student": "students",
    "house": "houses",
    "tree": "trees",
    "flower": "flowers",
    "picture": "pictures",
}
PLACES = (
    "park store school garden house river station market forest beach library office kitchen farm church bridge"
).split()
OBJECTS = "book ball cup hat key letter map ring coat box pen bag cake drink flower picture".split()
FURNITURE = "mat table chair bed floor box wall roof bench rug".split()
COLORS = "red blue green black white yellow brown pink purple gold gray".split()
ADJECTIVES = "happy tired hungry sad angry late busy quiet proud afraid sick lost".split()
FOODS = "apples pears plums grapes nuts eggs beans onions carrots cherries lemons potatoes".split()
LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z".split()

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "England": "London",
    "Russia": "Moscow",
    "China": "Beijing",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Ireland": "Dublin",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Cuba": "Havana",
    "Canada": "Ottawa",
    "Hungary": "Budapest",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Kenya": "Nairobi",
}
LANGUAGES = {
    "France": "French",
    "Italy": "Italian",
    "Spain": "Spanish",
    "Germany": "German",
    "England": "English",
    "Russia": "Russian",
    "China": "Chinese",
    "Japan": "Japanese",
    "Greece": "Greek",
    "Poland": "Polish",
    "Portugal": "Portuguese",
    "Norway": "Norwegian",
    "Sweden": "Swedish",
    "Hungary": "Hungarian",
}
YOUNG = {
    "dog": "puppy",
    "cat": "kitten",
    "cow": "calf",
    "sheep": "lamb",
    "horse": "foal",
    "bear": "cub",
    "duck": "duckling",
    "frog": "tadpole",
}

_OPPOSITE_PAIRS = (
    "hot cold, big small, tall short, fast slow, old new, rich poor, happy sad, hard soft, light dark, up down, "
    "left right, open closed, full empty, good bad, clean dirty, wet dry, loud quiet, early late, strong weak, "
    "thick thin, high low, day night, first last, near far"
)
OPPOSITES = {}
for _pair in _OPPOSITE_PAIRS.split(", "):
    _one, _other = _pair.split()
    OPPOSITES[_one] = _other
    OPPOSITES[_other] = _one

# what follows "salt and": fixed two-word pairs
FIXED_PAIRS = {
    "salt": "pepper",
    "bread": "butter",
    "black": "white",
    "king": "queen",
    "day": "night",
    "cat": "mouse",
    "knife": "fork",
    "rock": "roll",
    "needle": "thread",
    "thunder": "lightning",
    "sugar": "spice",
    "lock": "key",
    "rain": "snow",
    "sun": "moon",
    "bow": "arrow",
    "fish": "chips",
}

SEQUENCES = {
    "days": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "months": ("January February March April May June July August September October November December").split(),
    "numbers": "one two three four five six seven eight nine ten eleven twelve".split(),
    "ordinals": "first second third fourth fifth sixth seventh eighth ninth tenth".split(),
    "letters": "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z".split(),
    "digits": [str(n) for n in range(1, 21)],
}

BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">"}
