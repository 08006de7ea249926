"""What the rules look for, as tables: a code, a level, and patterns on normalized text.

A code says why a level was given; it goes into reports, the text never does. The patterns are written for `normalize`'s output:
small letters, no apostrophes, one blank between words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["none", "concern", "high", "imminent"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason for a level.

    Attributes:
        negatable: whether "not" before it, as in "I don't want to die", undoes it.
        is_noun: whether it only counts of the person who writes, and not in talk about news, study or art.
    """

    code: str
    level: Level
    pattern: re.Pattern[str]
    negatable: bool = True
    is_noun: bool = False


def _rule(code: str, level: Level, *patterns: str, negatable: bool = True, is_noun: bool = False) -> Rule:
    return Rule(code, level, re.compile(r"(?<!\w)(?:" + "|".join(patterns) + r")(?!\w)"), negatable, is_noun)


_SELF_KILL = (
    r"(?:kill(?:ing)? myself|unalive(?: myself)?|off myself|hang(?:ing)? myself|shoot(?:ing)? myself|drown(?:ing)? myself"
    r"|poison(?:ing)? myself|suffocat(?:e|ing) myself)"
)
_LIFE = r"(?:end(?:ing)? (?:my(?: own)? (?:life|existence)|it all|things for good)|tak(?:e|ing) my(?: own)? life)"

RULES: tuple[Rule, ...] = (
    # Plan, means, time.
    _rule(
        "means_at_hand",
        "imminent",
        r"(?:have|got|holding|bought|loaded|found) (?:the|a|my|some|all the)? ?(?:pills|gun|knife|rope|razor|blade|noose"
        r"|poison)\b[^.!?]{0,60}(?:take them|use it|do it|on myself|kill|die|cut my|wrists|end)",
        r"(?:standing |sitting |i ?a?m )?on (?:the|a) (?:bridge|roof|ledge|edge|railing|tracks|balcony)\b[^.!?]{0,40}(?:jump"
        r"|going to do it|end it)",
        negatable=False,
    ),
    _rule(
        "already_done",
        "imminent",
        r"(?:i )?(?:already |just )?(?:took|swallowed|taken|drank) (?:a |the |all |my )*(?:whole |full |entire )?(?:bottle|box"
        r"|pack|overdose|all (?:of )?(?:my|the) (?:pills|medication|meds|tablets))\b(?: of (?:pills|medication|meds|tablets"
        r"|bleach))?",
        r"i(?: have|ve)? (?:just |already )?(?:overdosed(?! on (?:chocolate|candy|sugar|coffee|netflix|carbs|cheese))"
        r"|cut my wrists|slit my wrists)",
        negatable=False,
    ),
    _rule(
        "preparation",
        "imminent",
        r"(?:wrote|written|writing|left|finished) (?:my|the|a) (?:suicide |goodbye |farewell )(?:note|notes|letter|letters)",
        r"(?:im|i am|be) ending it (?:tonight|now|today|tomorrow)",
        r"(?:soon|by (?:tomorrow|tonight|morning)) i (?:will|ll|am going to) be (?:gone|dead)",
        r"(?:this is my|tonight is the|today is the) (?:goodbye|last night|last day|night|day)\b[^.!?]{0,40}(?:end|kill|die|gone)",
        negatable=False,
    ),
    # Active ideation.
    _rule("self_kill", "high", _SELF_KILL + r"(?! (?:laughing|with laughter|trying to|over this homework))"),
    _rule("end_life", "high", _LIFE + r"(?! with (?:a|some|the))"),
    _rule(
        "want_to_die",
        "high",
        r"(?:want(?:ing)?|wish|ready|going|plan(?:ning)?|decided|hoping|deserve) to (?:die|be dead|not exist|cease to exist"
        r"|kill me)(?! (?:for|of|laughing|from (?:laugh|embarrass|boredom)))",
        r"wish i (?:was|were) dead",
        r"rather be dead",
        r"(?:want|going|need|ready|plan(?:ning)?|decided|prepared|guts|courage|about) to end it(?: all)?(?! (?:with|here|there"
        r"|on (?:a|the)))",
        r"i (?:should|would|might|could|will|wish i could) end it(?: all)?(?= (?:now|today|tonight|right)|[.,!?]|$)",
        r"i (?:should|deserve to) (?:die|be dead)(?! (?:of|for))",
        r"(?:feel|feeling|felt) like dying(?! (?:of|from|laughing))",
        r"(?:hope|wish|wishing|hoping|pray|praying|so)(?: that)? i (?:can |could |would |will )?die(?! (?:of|for|before|laughing"
        r"|in my sleep after))",
        r"(?:wish|wishing) (?:i|you) (?:werent|wasnt|were not) alive",
        r"(?:want|wish) (?:it|this|everything|my life|life|the pain) (?:all )?(?:to be|was|were) over(?! with)",
        r"want (?:it )?to (?:end|stop) (?:it )?for good",
        r"(?:want|wish) (?:out|to be gone) for good",
    ),
    _rule(
        "not_live",
        "high",
        r"(?:dont|do not|no longer|never) (?:really )?(?:want|wish|deserve|feel like|plan|care) (?:to )?(?:be alive|live|living"
        r"|exist|be here|stay alive|wake up|being alive|go on living)(?! (?:here|there|in|with|at|next|together|like a|under"
        r"|near))",
        r"(?:cant|can not|cannot) (?:go on|do (?:this|life)|keep (?:going|living)|live) (?:like this )?(?:any ?more|any longer"
        r"|much longer)(?:[ ,]+i want out)?",
        r"(?:dont|do not|doesnt) want to live",
        negatable=False,
    ),
    _rule(
        "self_harm",
        "high",
        r"(?:cut|cutting|burn|burning|harm|harming|hurt|hurting|scratch|scratching|hit|hitting) myself(?! (?:shaving|while"
        r"|when i (?:fell|tripped)|playing|on (?:a|the|some)|with (?:a|the) (?:paper|can)|cooking|chopping|at (?:the|work"
        r"|football)|in the (?:gym|kitchen)|lifting|off|some slack|a (?:slice|piece)|out|doing|running|climbing|my hair|for not"
        r"|by accident|accidentally))",
        r"(?:cut|cutting|slit|slitting|slash|burn|burning) my (?:wrists?|arms?|thighs?|legs?|skin)",
        r"(?:i|ive|started|keep|been|cant stop) (?:been )?(?:selfharm(?:ing)?|cutting(?: again)?)(?= again|[.,!?]|$| to (?:cope|feel))",
        r"(?:cant|can not) stop selfharm\w*",
    ),
    _rule(
        "suicidal_noun",
        "high",
        r"(?:i am|im|i feel|feeling|i have been|ive been|being|bit|little|still|i get) (?:so |really |very |seriously |a little "
        r"|a bit |kind of )?suicidal",
        r"(?:have|having|had|get|getting|my|these|with|keep having|constant) (?:\w+ )?(?:suicidal (?:thoughts?|ideation"
        r"|feelings)|(?:thoughts?|ideas?) (?:of|about) (?:suicide|dying|death|killing myself|ending))",
        r"suicidal thoughts again",
        r"(?:think|thinking|thought|consider|considering|contemplate|contemplating|plan|planning|attempt|commit|committing"
        r"|commiting|dreaming) (?:\w+ )?(?:about |of |on )?(?:commit(?:t?ing)? )?suicide",
        r"suicide is (?:all|the only|my)",
        r"(?:think|thinking) (?:\w+ )?(?:about|of) (?:dying|death|killing myself|jumping (?:in front|off)"
        r"|overdosing)(?: by my own hand| every day)?",
        r"(?:want|going|plan|planning|tempted) to (?:overdose|od|jump (?:in front|off (?:a|the) (?:bridge|roof|building)))",
        r"\bctb\b",
        is_noun=True,
    ),
    _rule(
        "farewell",
        "high",
        r"(?:everyone|everybody|they|my (?:family|kids|parents|friends|wife|husband)|people|the world|you(?: all)?) (?:would"
        r"|will|d|might) (?:all )?be (?:so much |much )?better (?:off )?(?:without me|if i (?:was|were) (?:gone|dead|not here)"
        r"|if i (?:wasnt|werent) (?:in it|here|around|alive))",
        r"(?:wont|not going to|will not) be (?:around|here|a burden|alive)(?: to \w+)?(?: for)? much longer",
        r"(?:wont|will not) have to (?:worry about|deal with|put up with) me (?:any ?more|much longer|soon)",
        r"(?:said|saying|written|made) (?:all )?my (?:goodbyes|peace with (?:leaving|dying|death))",
        r"made (?:my )?peace with (?:leaving|dying|death)",
        r"(?:this (?:will be|is) my last (?:message|post|day|night))",
        r"giv(?:e|ing|en) (?:away )?(?:all )?my (?:things|stuff|belongings|pets?) away\b[^.!?]{0,40}(?:wont|no longer|dont) need",
        r"ready to (?:be with|join|see) (?:my )?\w+ (?:in heaven|on the other side|again in heaven)",
        r"goodbye (?:everyone|everybody|world|forever)\b",
        negatable=False,
    ),
    _rule(
        "no_reason",
        "high",
        r"(?:no|not? (?:see )?any|dont see (?:a|any)|see no|not a single) (?:reason|point|purpose) (?:left )?(?:to|in"
        r"|for) (?:go on|live|living|going on|be(?:ing)? (?:here|alive)|stay(?:ing)? (?:alive|here)|exist(?:ing)?"
        r"|keep(?:ing)? (?:going|living))(?: any ?more)?",
        r"(?:nothing|no one|nobody) (?:is )?(?:left )?(?:here )?to live for",
        r"(?:lost|losing|have|has|having|got|no) (?:all |the |my |any )*will to (?:live|go on|keep going)(?: any ?more)?",
        r"life (?:isnt|is not|is no longer|aint) worth (?:living|it)",
        r"(?:done|finished|through) with (?:life|living|this life|existing)",
        r"(?:tired|sick|exhausted) of (?:living|being alive|life itself|existing)",
        r"no (?:other )?way out (?:than|but|except) (?:death|dying|suicide|to die)",
        r"(?:go|fall) to sleep (?:and never wake up|forever|and not wake up)|sleep forever",
        r"(?:never|not|dont want to) wake up (?:again|tomorrow|any ?more|ever)?(?:$|[.,!?])",
        r"want everything to (?:stop|end) forever",
        r"(?:no ?one|nobody) would (?:even )?(?:notice|miss me|care|cry) if i (?:was|were|died|would be)? ?(?:dead|died)?(?=$"
        r"|[.,!?])(?<=died|dead)|(?:no ?one|nobody) would (?:even )?(?:notice|miss me|care|cry) if i (?:(?:was|were) dead|died)",
        negatable=False,
    ),
    _rule(
        "eating",
        "high",
        r"(?:havent|have not|not) eaten (?:anything )?(?:in|for) (?:\w+ )?(?:days|a week|weeks)",
        r"starv(?:e|ed|ing) myself",
        r"(?:make|making|made) myself (?:throw up|vomit|puke|sick)",
        r"(?:throw|throwing) up (?:after|every time i)(?: every| each)? ?(?:meal|eat|i eat|eating)",
        r"(?:binge|bingeing|binging)(?: and)?(?: then)? purg(?:e|ing)",
        r"pro ?ana",
        r"stop eating (?:completely|altogether|at all)",
    ),
    _rule(
        "methods",
        "high",
        r"(?:painless|least painful|easiest|best|quickest|fastest|surest|good|most peaceful|peaceful) (?:way|method|ways"
        r"|methods)s? to (?:die|kill (?:my|your|one)self|end (?:my|a|your) life|commit suicide"
        r"|hide (?:my )?(?:selfharm )?(?:cuts|scars|selfharm))",
        r"how (?:many|much)\b[^.!?]{0,40}\b(?:to die|to kill|lethal|fatal|overdose)\b",
        r"lethal dose",
        r"how (?:do i|can i|to|would i|do you|could i) (?:kill (?:myself|yourself)|hang myself|tie a noose|commit suicide"
        r"|end my life|starve myself|hide (?:my )?(?:selfharm )?(?:cuts|scars|selfharm)|die (?:quickly|painlessly|peacefully)"
        r"|overdose)",
        r"(?:poem|story|song|essay|text)\b[^.!?]{0,40}\b(?:glorif\w+|romantici\w+|beautiful|tempting)\b[^.!?]{0,20}suicide"
        r"|(?:poem|story|song|essay|text)\b[^.!?]{0,40}suicide\b[^.!?]{0,30}(?:beautiful|romantic|glorious|tempting)",
        negatable=False,
    ),
    # Passive wishes and hopelessness.
    _rule(
        "hopeless",
        "concern",
        r"(?:feel|feeling|am|im|completely|so|everything is|its all|totally) (?:so |completely |totally |utterly "
        r"|really )?(?:hopeless|worthless|trapped|pointless)",
        r"nothing (?:will|is going to|is ever going to|s going to) ever (?:get|be) better",
        r"(?:whats|what is) the point (?:of|in) (?:anything|living|life|it all|trying|going on|being here)",
        r"(?:wish|want) (?:i could |to )?(?:just )?(?:disappear|vanish)",
        r"wish i (?:didnt exist|had never been born|was never born|wasnt here|wasnt born)",
        r"(?:cant|dont|do not|can not) see (?:a|any) future(?: for me| for myself)?",
        r"(?:cant|can not|cannot|couldnt) (?:take|stand|handle|bear|deal with) (?:it|this|life|any of this|living) any ?more",
        r"when (?:im|i am) (?:dead|gone)(?= |[.,!?]|$)(?! (?:to|for|on|from|at))",
        r"(?:i )?(?:often |always |constantly )?(?:think|wonder|fantasi[sz]e|dream) (?:about|of) (?:my (?:own )?(?:death"
        r"|funeral)|being dead|not existing|not being here)",
        r"dont care if i (?:wake up|live|die|ever wake up)",
        r"(?:im|i am|being|just|such) (?:just )?a burden",
        r"no ?(?:body|one) (?:needs|would (?:care|notice|miss me)(?: if i (?:was|were) gone)?)",
        r"(?:i hate|hating) my (?:life|existence)",
        r"(?:feel like |want to |am |im )?giv(?:e|ing) up on (?:everything|life|myself|living)",
        r"everything (?:feels|is|seems) (?:so )?(?:pointless|empty|meaningless|hopeless)",
        r"there is no way out|theres no way out|no way out of this",
        negatable=False,
    ),
)

# The word alone, of the person who writes: not enough for an alarm, enough to show who helps.
MENTION = Rule(
    "mention", "concern", re.compile(r"(?<!\w)(?:suicid\w*|selfharm\w*|overdos(?:e|ing))(?! (?:squad|bomb\w*|on \w+))"), is_noun=True
)

# Somebody else, alive and near.
_NEAR = (
    r"(?:my|our) (?:\w+ )?\w+|(?:s?he|they|someone i (?:know|love)|somebody i know"
    r"|a (?:girl|boy|guy|friend|kid|student|woman|man) (?:in|from|at) my \w+)"
)
_NOW = (
    r"(?:wants?|is|are|says?|said|told|tells?|keeps?|threaten\w*|plan\w*|might|will|going|thinks?|thinking|talk\w*|doesnt|dont"
    r"|started|took|has)"
)
THIRD_PERSON = re.compile(
    rf"(?<!\w)(?:{_NEAR})\b(?: \w+){{0,4}}? {_NOW}\b[^.!?]{{0,60}}?(?:"
    r"(?:kill|hurt|cut|harm|starv)\w* (?:him|her|them)sel\w+|end(?:ing)? (?:his|her|their)(?: own)? li\w+|tak\w+ (?:his|her"
    r"|their) own li\w+"
    r"|wants? to die|(?:doesnt|dont|does not) want to (?:live|be here|be alive)|suicidal|suicide|selfharm\w*|cutting (?:him|her|them)sel\w+"
    r"|(?:took|swallowed) (?:a lot of|all|too many|a bottle of)[^.!?]{0,20}(?:pills|tablets|medication))"
)
# Dead already: grief, not danger.
BEREAVED = re.compile(
    r"(?:killed (?:him|her|them)sel\w+|committed suicide|took (?:his|her|their) own li\w+|died by suicide|ended (?:his|her|their) li\w+)"
)

# Taken out before anything else is looked for.
IDIOMS = re.compile(
    r"(?:to )?(?:die|dying|died|dead)(?:ing)? (?:of|from) (?:\w+ )?(?:embarrass\w+|boredom|laugh\w+|shame|hunger|thirst|heat"
    r"|cold|curiosity|cringe|happiness|cuteness|excitement)"
    r"|(?:die|died|dying|dead|kill(?:ed|ing)? myself|killing me) (?:laughing|with laughter)|dying to \w+|to die for|(?:die|dying"
    r"|kill) for (?:a|an|some|that|this|my|coffee|\w+ right now)"
    r"|rather die than (?!live|go on|be here|continue|keep)\w+|shot myself in the foot|(?:cut|hurt|kick\w*"
    r"|work\w*) myself (?:to death|short|some slack|off|out)"
    r"|hang(?:ing)? (?:out|around|up|on|in there|pictures)|kill (?:time|the lights?|two birds|it|the vibe|the mood)"
    r"|suicide (?:squad|bomber|attack|doors?|mission)"
    r"|end (?:it all|it) (?:here|with)|jump out of the window,? (?:haha|lol)|(?:dead|die) hard"
    r"|(?:morrer|morrendo|morir|muero|muerto|mourir|mort|morri|morto) d[e'] ?\w+|matar (?:el tiempo|o tempo)|(?:sterbe|tot"
    r"|sterben) vor \w+|umbringen vor lachen"
)
# What is said after it is not meant of now.
PAST = re.compile(
    r"\b(?:years? ago|months ago|decades? ago|long ago|used to|back in (?:college|school|the|high|\d+)|as a (?:teen\w*|kid|child|student)"
    r"|when i was (?:a |an |in |\d+|young\w*|little)|in (?:19|20)\d\d|in my (?:teens|twenties|youth)|(?:in the|my) past|survived)\b"
)
STILL = re.compile(
    r"\b(?:again|still|lately|tonight|right now|these days|since yesterday|this week|last (?:night|week)|and now i (?:want|feel)"
    r"|any ?more)\b"
)
STUDY = re.compile(
    r"\b(?:news|article|headline|movie|film|show|series|episode|book|novel|documentary|song|lyrics|play|essay|presentation|paper"
    r"|thesis|(?:ethics|psychology|english|history|literature) class|lesson|course"
    r"|statistics?|rates?|research|study|studies|prevention|hotline|euthanasia|ethics|history|character|suspect|soldiers?|police"
    r"|romeo|nursing|degree)\b"
)
FIRST_PERSON = re.compile(r"\b(?:i|im|ive|ill|me|my|myself)\b")
NEGATION = re.compile(
    r"\b(?:not|never|dont|didnt|doesnt|wont|wouldnt|no longer|havent|hasnt|isnt|arent|no|without|nor)"
    r"(?: (?:really|actually|even|ever|going|planning|trying|to|want|wanting|wanted|thought|thinking|think|about|of|have|having"
    r"|had|any|thoughts?|feel|feeling|like"
    r"|a|be|in|the|danger|i|was|am|im|been|considering|go|would|will|intend|intending))* ?$"
)
INTENT = re.compile(r"\b(?:going to|will|decided|plan(?:ning)?|about to|ill|have everything|everything is (?:prepared|ready)|ready)\b")
SOON = re.compile(
    r"\b(?:tonight|right now|now|today|this (?:evening|morning|afternoon|weekend)|tomorrow|in an hour|on (?:mon|tues|wednes"
    r"|thurs|fri|satur|sun)day|when (?:my|he|she|they) \w+ (?:leaves?|sleeps?|is)"
    r"|picked the date|have everything i need|everything is prepared)\b"
)

# Direct statements in other languages: Latin scripts without marks.
LANGUAGES: dict[str, re.Pattern[str]] = {
    "es": re.compile(
        r"(?<!no )quiero (?:morir(?:me)?|matarme|suicidarme|quitarme la vida|acabar con (?:mi vida|todo))|me (?:quiero"
        r"|voy a) (?:matar|suicidar)|voy a (?:matarme|suicidarme|quitarme la vida)"
        r"|no quiero (?:seguir )?(?:vivir|viviendo)|ya no quiero vivir|(?:pensando|pienso) en (?:suicidarme|el suicidio|matarme"
        r"|morirme)|ganas de morir(?:me)?"
    ),
    "fr": re.compile(
        r"je (?:veux|vais|voudrais) (?:mourir|me tuer|me suicider|en finir)|jai envie de (?:mourir|me tuer|me suicider|en finir)"
        r"|je (?:ne )?veux plus vivre"
        r"|plus envie de vivre|je pense (?:au suicide|a me tuer|a me suicider|a mourir)"
    ),
    "de": re.compile(
        r"ich (?:will|mochte|werde) (?:\w+ )?(?:sterben|mich umbringen|mich toten|mir das leben nehmen|tot sein)|ich (?:will"
        r"|mochte|kann) nicht mehr leben|ich bringe mich (?:\w+ )?um\b"
        r"|ich (?:denke|denk) (?:\w+ )?an (?:selbstmord|suizid|den tod)|mir das leben nehmen|will nicht mehr leben"
    ),
    "pt": re.compile(
        r"(?<!nao )quero (?:morrer|me matar|me suicidar|acabar com (?:a minha vida|tudo))|vou me (?:matar|suicidar)|nao (?:quero"
        r"|aguento) mais viver"
        r"|penso em (?:me )?(?:suicidio|suicidar|matar|morrer)|vontade de morrer"
    ),
    "hi": re.compile(
        r"(?:मरना|मर जाना) चाहत|आत्महत्या (?:करना|करने|कर)|खुदकुशी|जीना नही|जीना नहीं|जीने का मन नही|main? mar(?:na"
        r"| jana) chaht\w+|jeena nahi|khudkushi|aatmahatya|mar jana chaht\w+"
    ),
}
