"""What everybody tries first. The words are our own collection (English, German, names, keys): with the usual
decoration and in pairs they stand for far more than the few thousand passwords that a list of leaked ones would bring.
"""

_WORDS = """
abc abcd access account admin administrator agent alles always amazing amore angel angels anonymous apollo apple april
arsenal asdf august austin avatar awesome baby babe babygirl banana barcelona baseball basketball batman baum bayern
beach bear beautiful beauty benutzer berlin best bier big bild bitte black blau blink blue blume bonjour boss boston boy
brasil brother brown buddy butterfly bvb cactus california camaro cat celtic change changeit changeme charlie cheese
chelsea chester chicken chocolate chris christmas claudia coffee compaq computer cookie cool corona cowboy cowboys
crystal daddy dallas daniel dave david december default dell demo denise deutschland diamond diana dienstag doctor dog
dogs dolphin donald donnerstag dragon dream du eagle eagles easy einstein elefant elephant elizabeth eminem engel
england enter erdbeere evil ewig extreme facebook falcon family fanta februar february felix ferrari fisch fischer
flower football for forever france frank frankfurt frau freak freddy free freedom  freitag freiheit freund
freunde friday friend friends frodo fruehling fuck fuckyou fussball galaxy game gamer garfield gast geburtstag gehalt
geheim geil geld general gfhjkm gibson ginger girl give goat god gold golden goldfish golf good google gott green guest
guitar gustav guten tag hallo halloo hamburg hammer hannover hans happy harley harry haus heart heaven heineken hello
helloworld helpdesk herbst hermann hero herz hockey holiday hollywood home honda honey horses hund hunter husky i
ich ichliebedich iloveu iloveyou internet iphone is ist italia jack jackson jaguar jahr jan januar january jasmin
jennifer jesus jessica johannes john johnny jonas jordan josh juli julia july juni june junior justin kaffee kaiser
karate karin katze kennwort killer king kitty klaus kleines koeln koenig kuchen laura lady leben legend leipzig let
letmein letmeinnow letter lieb liebe liebedich liebling lion lisa liverpool login logmein lol london look lord lothar
love lovely lover loveyou lucky luke lukas maerz magic mai mama mami manager manchester marc march maria marina mark
markus marlboro martin master matrix matthew maus max maximilian me mein meinpasswort melanie member mercedes merlin
metal metallica michael michelle michigan mickey milan minecraft mittwoch mobil mohamed mom mommy monday money monika
monkey montag morgen morning mother motorola mouse muenchen mustang mutter my mylove mypassword name nascar natalie
naruto neu new newpass newpassword nicole nikita ninja nintendo nirvana no nobody november oktober october office oliver
online open orange owner pa pacman papa paradise paris party pass passwd password passwords passwort passord pasword
patrick peace peanut peter pferd phoenix player please pokemon police porsche power prince princess private 
purple qazwsx qwer qwert qwerty qwertz rabbit rainbow raiders ranger red remember richard robert rock rocky root
rose rosebud rot runner samantha samsung samstag sandra sarah schalke schatz schatzi schmidt schmetterling schnecke
schnucki schnuffel schokolade school schule schwarz schwester scooter scorpion secret secure security sebastian
september service sex sexy shadow sicher sicherheit silver simple sister skate slipknot smile smith snoopy snow soccer
sommer sonne sonnenblume sonnenschein sonntag sophie spain spider spiderman spring squirrel stadt star starwars start
stefan stern steven strawberry student stuttgart success suesse summer sun sunday sunflower sunny sunshine super
superman superstar support surfer susanne sweet system tanja taylor teacher team telefon temp temporary tennis tequila
test tester testing thank the this thomas thunder thursday tiger tigger tinkerbell today tom training travel trustno
trustnoone tuesday turtle united university unknown unicorn user vanessa vater vampire vegas victoria viking vodka
wachtwoord warrior water webmaster wedding wednesday weekend weihnachten weiss welcome welcometo welt what whatever
white wien william willkommen willy windows winner winter wizard wolf wolfgang wolves woman word world worldcup xmas
yamaha yankees year yellow you your yourmom zebra zuhause zurich zxcvbnm
"""

COMMON = frozenset(_WORDS.split())

_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "1234567890",
    "0123456789",
    "qwertyuiop[]asdfghjkl;zxcvbnm,./",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1q2w3e4r5t6y7u8i9o0p",
    "1q2w3e4r5t6z7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.",
    "qazwsxedcrfvtgbyhnujm",
    "qaywsxedcrfvtgbzhnujm",
    "!@#$%^&*()",
    '!"§$%&/()=',
)

RUNS = "\n".join([*_ROWS, *(row[::-1] for row in _ROWS)])
"""Neighbours on keyboards and in the alphabet, forwards and backwards: a run is any part of it."""
