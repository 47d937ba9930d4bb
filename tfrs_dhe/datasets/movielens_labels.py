"""The classes of MovieLens as tensorflow-datasets numbers them.

The order is that of the builder `movielens` in tensorflow-datasets 4.9, so that
class indices mean the same whichever way the data came.
"""

GENRES: tuple[str, ...] = (
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "IMAX",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "Unknown",
    "War",
    "Western",
    "(no genres listed)",
)

#: Genres that one version spells otherwise.
GENRE_ALIASES = {"Children's": "Children", "unknown": "Unknown"}

#: The 0/1 columns of `u.item`, in their order: the genres that MovieLens had then.
GENRES_100K: tuple[str, ...] = (
    "Unknown",
    *(g for g in GENRES if g not in ("Unknown", "IMAX", "(no genres listed)")),
)

#: Lowest age of every bucket of `bucketized_user_age`; 1 stands for "under 18".
AGE_BUCKETS: tuple[int, ...] = (1, 18, 25, 35, 45, 50, 56)

OCCUPATIONS: tuple[str, ...] = (
    "academic/educator",
    "artist",
    "clerical/admin",
    "customer service",
    "doctor/health care",
    "entertainment",
    "executive/managerial",
    "farmer",
    "homemaker",
    "lawyer",
    "librarian",
    "other/not specified",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "student",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)

#: What the numbers 0 to 20 in `users.dat` of the 1m version stand for.
OCCUPATIONS_1M: tuple[str, ...] = (
    "other/not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)

#: Occupations of the 1m and 100k versions that have another name as a class.
OCCUPATION_ALIASES = {
    "college/grad student": "student",
    "K-12 student": "student",
    "administrator": "clerical/admin",
    "doctor": "doctor/health care",
    "educator": "academic/educator",
    "engineer": "technician/engineer",
    "executive": "executive/managerial",
    "healthcare": "doctor/health care",
    "marketing": "sales/marketing",
    "none": "other/not specified",
    "other": "other/not specified",
    "salesman": "sales/marketing",
    "technician": "technician/engineer",
}
