"""Names, pronouns and words for people: the lists behind name swaps and the audit of fairness.

First names are common ones of people born in the United States or abroad whose families come from there; each is usual
for one gender. A name stands in one list only. Pairs of words are (man, woman).
"""

from __future__ import annotations

MEN, WOMEN = 0, 1
GENDERS = ("men", "women")

# By origin: (men, women).
FIRST_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "English": (
        (
            "Adam", "Albert", "Andrew", "Arthur", "Ben", "Brian", "Charles", "Chris", "Daniel", "David", "Edward",
            "Eric", "Frank", "Fred", "George", "Greg", "Harry", "Henry", "Hugo", "Jack", "Jacob", "James", "Jason",
            "John", "Joseph", "Kevin", "Louis", "Mark", "Matthew", "Michael", "Oscar", "Patrick", "Paul", "Peter",
            "Philip", "Richard", "Robert", "Roger", "Sam", "Scott", "Simon", "Stephen", "Steven", "Thomas", "Tim",
            "Tom", "Tony", "Victor", "Walter", "William",
        ),
        (
            "Ada", "Alice", "Amy", "Anna", "Anne", "Barbara", "Betty", "Carol", "Caroline", "Catherine", "Clara",
            "Diana", "Edith", "Elizabeth", "Emily", "Emma", "Grace", "Hannah", "Helen", "Ida", "Jane", "Jennifer",
            "Jessica", "Julia", "Karen", "Kate", "Laura", "Linda", "Lisa", "Lucy", "Margaret", "Martha", "Mary",
            "Nancy", "Olivia", "Patricia", "Rachel", "Rebecca", "Ruth", "Sally", "Sandra", "Sarah", "Sophie",
            "Susan",
        ),
    ),
    "African American": (
        (
            "Darnell", "DeShawn", "Hakim", "Jamal", "Jermaine", "Kareem", "Lamar", "LeRoy", "Malik", "Marquis",
            "Rasheed", "Terrell", "Tremayne", "Tyrone",
        ),
        (
            "Aisha", "Aaliyah", "Imani", "Keisha", "Kiara", "Lakisha", "Latasha", "Latonya", "Latoya", "Nia",
            "Shaniqua", "Shanice", "Tamika", "Tanisha",
        ),
    ),
    "Arabic": (
        (
            "Ahmed", "Ali", "Amir", "Bilal", "Hassan", "Ibrahim", "Karim", "Khalid", "Mohammed", "Mustafa", "Omar",
            "Rashid", "Tariq", "Yusuf",
        ),
        (
            "Amina", "Dalia", "Fatima", "Hala", "Khadija", "Layla", "Leila", "Maryam", "Nadia", "Rania", "Salma",
            "Samira", "Yasmin", "Zainab",
        ),
    ),
    "East Asian": (
        (
            "Bao", "Haruto", "Jun", "Hiroshi", "Hyun", "Jian", "Jin", "Kenji", "Minh", "Takashi", "Wei", "Xiang",
            "Yong", "Ryo",
        ),
        (
            "Akiko", "Eun", "Haruka", "Hui", "Ji-woo", "Keiko", "Sakura", "Linh", "Mei", "Min-ji", "Xiu", "Yan",
            "Yuki", "Ying",
        ),
    ),
    "Hispanic": (
        (
            "Alejandro", "Carlos", "Diego", "Enrique", "Fernando", "Javier", "Jorge", "José", "Juan", "Luis",
            "Miguel", "Pablo", "Pedro", "Rafael",
        ),
        (
            "Alejandra", "Ana", "Carmen", "Catalina", "Esperanza", "Marisol", "Isabel", "Juana", "Lucía", "Luz",
            "María", "Pilar", "Rosa", "Ximena",
        ),
    ),
    "Indian": (
        (
            "Amit", "Anil", "Arjun", "Ashok", "Deepak", "Vikram", "Manish", "Nikhil", "Rahul", "Rajesh", "Ravi",
            "Sanjay", "Suresh", "Vijay",
        ),
        (
            "Anjali", "Deepa", "Divya", "Indira", "Kavita", "Lakshmi", "Meera", "Neha", "Pooja", "Priya", "Radha",
            "Shreya", "Sunita", "Usha",
        ),
    ),
    "Slavic": (
        (
            "Aleksandr", "Boris", "Dmitri", "Ivan", "Mikhail", "Miroslav", "Nikolai", "Oleg", "Sergei", "Stanislav",
            "Vladimir", "Yuri", "Zbigniew", "Zoran",
        ),
        (
            "Agnieszka", "Anastasia", "Darya", "Ekaterina", "Irina", "Katarzyna", "Ludmila", "Milena", "Natalia",
            "Oksana", "Olga", "Svetlana", "Tatiana", "Yelena",
        ),
    ),
}  # fmt: skip

ORIGINS = tuple(FIRST_NAMES)
# (origin, gender) of each first name.
OF_NAME = {
    name: (origin, gender)
    for origin, genders in FIRST_NAMES.items()
    for gender, names in enumerate(genders)
    for name in names
}

# First names that are words too: in a text without capitals they do not count as names.
WORDS_TOO = frozenset(
    (
        "ada", "ali", "ben", "carol", "frank", "grace", "jack", "jun", "kate", "mark", "nancy", "nia", "pilar", "rosa",
        "sally", "sam", "scott", "victor",
    )
)  # fmt: skip

SURNAMES = (
    "Abbott", "Barlow", "Carver", "Dalton", "Ellison", "Foster", "Goodwin", "Harding", "Ingram", "Jennings", "Keller",
    "Lambert", "Merritt", "Newton", "Osborne", "Prescott", "Quinn", "Rowland", "Stratton", "Tucker", "Underhill",
    "Vaughn", "Whitaker", "York",
)  # fmt: skip

# Words for people, without names, pronouns and titles. Left out are words that are often something else: king, prince.
WORDS = (
    ("actor", "actress"), ("actors", "actresses"), ("boy", "girl"), ("boys", "girls"), ("boyfriend", "girlfriend"),
    ("brother", "sister"), ("brothers", "sisters"), ("businessman", "businesswoman"), ("chairman", "chairwoman"),
    ("dad", "mom"), ("father", "mother"), ("fathers", "mothers"), ("gentleman", "lady"), ("gentlemen", "ladies"),
    ("grandfather", "grandmother"), ("grandson", "granddaughter"), ("guy", "gal"), ("guys", "gals"),
    ("hero", "heroine"), ("heroes", "heroines"), ("himself", "herself"), ("husband", "wife"), ("husbands", "wives"),
    ("man", "woman"), ("men", "women"), ("nephew", "niece"), ("sir", "madam"), ("son", "daughter"),
    ("sons", "daughters"), ("spokesman", "spokeswoman"), ("uncle", "aunt"), ("widower", "widow"),
)  # fmt: skip
